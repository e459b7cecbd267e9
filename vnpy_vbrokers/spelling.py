"""Spellings at VBrokers: its markets, its codes, its words for the parts of a day, and our symbols for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.i18n import N_
from vnpy_brokerkit.symbols import canonical, canonical_vt
from vnpy_brokerkit.trading_hours import Region, Segment


class Market(NamedTuple):
    """One market as the broker's trading side names it (reference section 4.1)."""

    code: str
    region: Region
    exchange: Exchange
    currency: str
    zone: str
    name: str


MARKETS: Mapping[str, Market] = {
    "K": Market("K", Region.HK, Exchange.SEHK, "HKD", "Asia/Hong_Kong", N_("港股")),
    "P": Market("P", Region.US, Exchange.SMART, "USD", "America/New_York", N_("美股")),
    "t": Market("t", Region.CONNECT, Exchange.SSE, "CNY", "Asia/Shanghai", N_("沪股通")),
    "v": Market("v", Region.CONNECT, Exchange.SZSE, "CNY", "Asia/Shanghai", N_("深股通")),
}
EXCHANGE2MARKET: Mapping[Exchange, Market] = {market.exchange: market for market in MARKETS.values()}

SEGMENT2TIME: Mapping[Segment, int] = {Segment.REGULAR: 1, Segment.PRE: -1, Segment.POST: -2, Segment.NIGHT: -3}
TIME2SEGMENT: Mapping[int, Segment] = {code: part for part, code in SEGMENT2TIME.items()}

_OPTION = re.compile(r"[A-Z.]{1,6}\d{6}[CP]\d{8}")
_SUFFIX2EXCHANGE: Mapping[str, Exchange] = {"HK": Exchange.SEHK, "SH": Exchange.SSE, "SZ": Exchange.SZSE}


def to_code(symbol: str, exchange: Exchange) -> str:
    """Return the broker's code of a canonical symbol: ``00700.HK``, ``BRK.B``, ``600519.SH`` (section 4.1)."""
    if exchange is Exchange.SEHK:
        return f"{symbol}.HK"
    if exchange is Exchange.SSE:
        return f"{symbol}.SH"
    if exchange is Exchange.SZSE:
        return f"{symbol}.SZ"
    return symbol.replace("-", ".")


def from_code(code: str, market: str = "") -> tuple[str, Exchange]:
    """Return the canonical symbol of a broker's code; ``market`` is K, P, t or v where the row tells it.

    Raises :class:`SymbolError` for a code that is none. Holdings may come as ``AAPL.US``, A shares bare (section 4.1).
    """
    home = MARKETS[market].exchange if market in MARKETS else Exchange.SMART
    suffix = code.rpartition(".")[2].upper()
    return canonical(code, _SUFFIX2EXCHANGE.get(suffix, home))


_SERVED = re.compile(
    r"\d{5}\.SEHK|\d{6}\.(SSE|SZSE)|([A-Z][A-Z0-9]{0,5}(-[A-Z]{1,2})?|[A-Z.]{1,6}\d{6}[CP]\d{8})\.SMART"
)


def is_option(symbol: str, exchange: Exchange) -> bool:
    """Tell whether a canonical symbol is the code of a US option."""
    return exchange is Exchange.SMART and _OPTION.fullmatch(symbol) is not None


def serves(vt_symbol: str) -> bool:
    """Tell by its canonical vt_symbol whether this broker can know it: a stock, an ETF, or a US option's code."""
    return bool(_SERVED.fullmatch(vt_symbol))


def spelled(vt_symbol: str) -> tuple[str, Exchange] | None:
    """Return the key of an instrument as a person wrote it, ``None`` for what this broker can't know.

    Raises :class:`SymbolError` for a text that can be no symbol.
    """
    name = canonical_vt(vt_symbol)
    symbol, _dot, exchange = name.rpartition(".")
    return (symbol, Exchange(exchange)) if serves(name) else None
