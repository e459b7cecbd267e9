"""Instruments as TWS knows them: contracts, their ids, and finding them by any combination of fields (tws-api 3, 14).

A US class share has a blank (``BRK B``), a Hong Kong code no leading zeros (``700``), a mainland share is a
Northbound contract (``SEHKNTL``, ``SEHKSZSE``, CNH).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from hashlib import blake2b

from brokersim.model import Instrument
from brokersim.sessions import TradingDays
from brokersim.tws.framing import Reader, text_of

CON_IDS: dict[str, int] = {
    "IBM.SMART": 8314,
    "AAPL.SMART": 265598,
    "MSFT.SMART": 272093,
    "NVDA.SMART": 4815747,
    "TSLA.SMART": 76792991,
    "SPY.SMART": 756733,
    "QQQ.SMART": 320227571,
    "BRK-B.SMART": 72063691,
    "EUR-USD-CASH.IDEALPRO": 12087792,
}
"""The ids that the outside world knows; any other comes from a hash of the name."""
FIRST_MADE_CON_ID = 500_000_000
MADE_CON_IDS = 400_000_000

PRIMARY: dict[str, str] = {
    "AAPL": "NASDAQ",
    "MSFT": "NASDAQ",
    "NVDA": "NASDAQ",
    "TSLA": "NASDAQ",
    "QQQ": "NASDAQ",
    "SPY": "ARCA",
}
"""Listing exchanges of US stocks; any other NYSE."""
US_STOCK_VENUES = ("SMART", "AMEX", "NYSE", "ARCA", "BATS", "NASDAQ", "IEX", "DRCTEDGE", "EDGEA", "BYX", "MEMX")
US_OPTION_VENUES = ("SMART", "AMEX", "CBOE", "PHLX", "ISE", "BOX", "BATS", "NASDAQOM")
SAME_VENUE: dict[str, str] = {"ISLAND": "NASDAQ", "NYSEARCA": "ARCA", "GLOBEX": "CME"}
"""Older names of exchanges that requests still use."""
NORTHBOUND: dict[str, str] = {"SSE": "SEHKNTL", "SZSE": "SEHKSZSE"}
SEC_TYPES = frozenset(
    {
        *("STK", "CASH", "FUT", "OPT", "IND", "CONTFUT", "FOP", "CFD"),
        *("CMDTY", "CRYPTO", "FUND", "BOND", "WAR", "IOPT", "BAG"),
    }
)
ISINS: dict[str, str] = {
    "AAPL.SMART": "US0378331005",
    "IBM.SMART": "US4592001014",
    "MSFT.SMART": "US5949181045",
    "NVDA.SMART": "US67066G1040",
    "TSLA.SMART": "US88160R1014",
    "BRK-B.SMART": "US0846707026",
    "SPY.SMART": "US78462F1030",
    "00700.SEHK": "KYG875721634",
    "00005.SEHK": "GB0005405286",
}
MONTH_CODES = "FGHJKMNQUVXZ"
_RIGHTS = {"C": "C", "CALL": "C", "P": "P", "PUT": "P", "": "", "?": "", "0": ""}
_EXPIRY = re.compile(r"\d{6}(\d{2})?")


@dataclass(frozen=True)
class ContractQuery:
    """The contract fields of a request (C12, and what details and orders add); empty or 0 when not given."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    strike: Decimal = Decimal(0)
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    sec_id_type: str = ""
    sec_id: str = ""

    @classmethod
    def read(cls, reader: Reader) -> ContractQuery:
        """The block C12 (tws-api 3)."""
        return cls(
            con_id=reader.integer("conId"),
            symbol=reader.text("symbol"),
            sec_type=reader.text("secType").upper(),
            expiry=reader.text("lastTradeDateOrContractMonth"),
            strike=_finite(reader.decimal("strike")),
            right=reader.text("right").upper(),
            multiplier=reader.text("multiplier"),
            exchange=reader.text("exchange").upper(),
            primary_exchange=reader.text("primaryExchange").upper(),
            currency=reader.text("currency").upper(),
            local_symbol=reader.text("localSymbol"),
            trading_class=reader.text("tradingClass"),
        )


@dataclass(frozen=True)
class Listed:
    """One instrument as TWS knows it. ``exchange`` is where orders go (``SMART`` for US stocks), ``expiry`` is
    yyyymmdd, ``strike`` and ``multiplier`` are text, empty when the kind has none."""

    instrument: Instrument
    con_id: int
    symbol: str
    sec_type: str
    exchange: str
    primary_exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    multiplier: str = ""
    expiry: str = ""
    strike: str = ""
    right: str = ""
    venues: tuple[str, ...] = ()
    """Every exchange that a request may name, ``exchange`` among them."""
    under_symbol: str = ""
    under_sec_type: str = ""
    under_con_id: int = 0

    @property
    def vt_symbol(self) -> str:
        return self.instrument.vt_symbol

    @property
    def size(self) -> Decimal:
        """The multiplier as a number."""
        return self.instrument.size

    def c11(self, exchange: str | None = None, *, strike: str = "0", right: str = "?") -> tuple[str, ...]:
        """The reply block C11 (tws-api 3); ``exchange`` in place of its own, ``strike`` and ``right`` where the kind
        has none (orders ``0`` and ``?``, executions ``0.0`` and empty)."""
        return (
            str(self.con_id),
            self.symbol,
            self.sec_type,
            self.expiry,
            self.strike or strike,
            self.right or right,
            self.multiplier,
            self.exchange if exchange is None else exchange,
            self.currency,
            self.local_symbol,
            self.trading_class,
        )


class Contracts:
    """All contracts, and finding them."""

    def __init__(self, instruments: Mapping[str, Instrument], *, hk_smart: bool = False) -> None:
        self.hk_smart = hk_smart
        """Whether ``SMART`` finds Hong Kong shares too (tws-api 14.2, unconfirmed)."""
        con_ids = _con_ids(instruments)
        self._by_vt = {vt: _listed(instrument, con_ids) for vt, instrument in instruments.items()}
        self._by_con_id = {listed.con_id: listed for listed in self._by_vt.values()}

    def __iter__(self) -> Iterator[Listed]:
        return iter(self._by_vt.values())

    def by_vt(self, vt_symbol: str) -> Listed:
        """KeyError for an unknown vt_symbol."""
        return self._by_vt[vt_symbol]

    def by_con_id(self, con_id: int) -> Listed | None:
        return self._by_con_id.get(con_id)

    def resolve(self, query: ContractQuery) -> list[Listed]:
        """Every contract that the given fields fit; empty when none, several when ambiguous. The venue asked for is
        the ``exchange`` of the answers."""
        found = [listed for listed in self._by_vt.values() if self._fits(listed, query)]
        exchange = SAME_VENUE.get(query.exchange, query.exchange)
        if exchange:
            found = [replace(listed, exchange=exchange) for listed in found]
        if query.sec_type == "CONTFUT":
            return [replace(min(found, key=lambda listed: listed.expiry), sec_type="CONTFUT")] if found else []
        return found

    def matching(self, pattern: str) -> list[Listed]:
        """Stocks and indices whose symbol begins with the pattern or whose name contains it, exact symbols first."""
        wanted = pattern.strip().upper()
        if not wanted:
            return []
        found = [
            listed
            for listed in self._by_vt.values()
            if listed.sec_type in ("STK", "IND")
            and (listed.symbol.upper().startswith(wanted) or wanted in listed.instrument.name_en.upper())
        ]
        return sorted(found, key=lambda listed: (listed.symbol != wanted, len(listed.symbol), listed.symbol))

    def options_on(self, symbol: str) -> list[Listed]:
        """The options on an underlying symbol."""
        return [one for one in self._by_vt.values() if one.sec_type == "OPT" and one.under_symbol == symbol]

    def _fits(self, listed: Listed, query: ContractQuery) -> bool:
        if query.con_id and query.con_id != listed.con_id:
            return False
        if not (query.con_id or query.symbol or query.local_symbol or query.sec_id):
            return False
        return all(
            (
                _sec_type_fits(listed, query.sec_type),
                not query.symbol or query.symbol.upper() == listed.symbol,
                not query.expiry or _expiry_fits(listed, query.expiry),
                not query.strike or (bool(listed.strike) and query.strike == Decimal(listed.strike)),
                not _RIGHTS.get(query.right, query.right) or _RIGHTS.get(query.right) == listed.right,
                not query.multiplier or not listed.multiplier or query.multiplier == listed.multiplier,
                self._exchange_fits(listed, query.exchange),
                not query.primary_exchange or _primary_fits(listed, query.primary_exchange),
                not query.currency or query.currency == listed.currency,
                not query.local_symbol or _squeezed(query.local_symbol) == _squeezed(listed.local_symbol),
                not query.trading_class or query.trading_class.upper() == listed.trading_class.upper(),
                not query.sec_id or _sec_id_fits(listed, query),
            )
        )

    def _exchange_fits(self, listed: Listed, exchange: str) -> bool:
        if not exchange:
            return True
        if exchange == "SMART" and listed.exchange == "SEHK" and listed.sec_type == "STK":
            return self.hk_smart
        return SAME_VENUE.get(exchange, exchange) in listed.venues


def _sec_type_fits(listed: Listed, sec_type: str) -> bool:
    return not sec_type or sec_type == listed.sec_type or (sec_type == "CONTFUT" and listed.sec_type == "FUT")


def _expiry_fits(listed: Listed, expiry: str) -> bool:
    return bool(_EXPIRY.fullmatch(expiry)) and bool(listed.expiry) and listed.expiry.startswith(expiry)


def _primary_fits(listed: Listed, exchange: str) -> bool:
    return SAME_VENUE.get(exchange, exchange) in (listed.primary_exchange or listed.exchange, listed.exchange)


def _sec_id_fits(listed: Listed, query: ContractQuery) -> bool:
    return query.sec_id_type.upper() == "ISIN" and ISINS.get(listed.vt_symbol) == query.sec_id.upper()


def _squeezed(text: str) -> str:
    return " ".join(text.upper().split())


def _finite(number: Decimal | None) -> Decimal:
    return Decimal(0) if number is None or number.is_infinite() else number


# -- instrument -> contract --------------------------------------------------------------------------------------


def _con_ids(instruments: Mapping[str, Instrument]) -> dict[str, int]:
    """An id for every instrument and every underlying that is none itself: the same in every run, never twice."""
    names = [*sorted(instruments), *sorted(f"{one.symbol.split('-')[0]}.INDEX" for one in instruments.values())]
    ids = {name: CON_IDS[name] for name in names if name in CON_IDS}
    taken = set(ids.values())
    for name in names:
        if name not in ids:
            hashed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
            made = FIRST_MADE_CON_ID + hashed % MADE_CON_IDS
            while made in taken:
                made += 1
            taken.add(made)
            ids[name] = made
    return ids


def _listed(instrument: Instrument, con_ids: Mapping[str, int]) -> Listed:
    con_id = con_ids[instrument.vt_symbol]
    if instrument.kind == "forex":
        return _forex(instrument, con_id)
    if instrument.kind == "future":
        return _future(instrument, con_id, con_ids)
    if instrument.kind == "option":
        return _option(instrument, con_id, con_ids)
    return _stock(instrument, con_id)


def _stock(instrument: Instrument, con_id: int) -> Listed:
    sec_type = "IND" if instrument.kind == "index" else "STK"
    if instrument.exchange == "SEHK":
        code = instrument.symbol.lstrip("0")
        return Listed(instrument, con_id, code, sec_type, "SEHK", "SEHK", "HKD", code, code, venues=("SEHK",))
    if instrument.exchange in NORTHBOUND:
        venue, code = NORTHBOUND[instrument.exchange], instrument.symbol
        return Listed(instrument, con_id, code, sec_type, venue, venue, "CNH", code, code, venues=(venue,))
    symbol = instrument.symbol.replace("-", " ")
    primary = PRIMARY.get(symbol, "NYSE")
    trading_class = "NMS" if primary == "NASDAQ" else symbol
    return Listed(
        instrument, con_id, symbol, sec_type, "SMART", primary, instrument.currency, symbol, trading_class,
        venues=US_STOCK_VENUES,
    )  # fmt: skip


def _forex(instrument: Instrument, con_id: int) -> Listed:
    base, quote, _ = instrument.symbol.split("-")
    local, venue = f"{base}.{quote}", instrument.exchange
    return Listed(instrument, con_id, base, "CASH", venue, "", quote, local, local, venues=(venue,))


def _future(instrument: Instrument, con_id: int, con_ids: Mapping[str, int]) -> Listed:
    symbol, month, currency, _ = instrument.symbol.split("-")
    expiry = _last_trade_date(instrument.exchange, int(month[:4]), int(month[4:]))
    local = f"{symbol}{MONTH_CODES[int(month[4:]) - 1]}{month[3]}"
    return Listed(
        instrument, con_id, symbol, "FUT", instrument.exchange, "", currency, local, symbol,
        multiplier=text_of(instrument.size), expiry=f"{expiry:%Y%m%d}", venues=(instrument.exchange,),
        under_symbol=symbol, under_sec_type="IND", under_con_id=con_ids[f"{symbol}.INDEX"],
    )  # fmt: skip


def _option(instrument: Instrument, con_id: int, con_ids: Mapping[str, int]) -> Listed:
    symbol, expiry, right, strike_text, multiplier, currency, _ = instrument.symbol.split("-")
    strike = Decimal(strike_text.replace("_", "."))
    local = f"{symbol:<6}{expiry[2:]}{right}{int(strike * 1000):08d}"
    return Listed(
        instrument, con_id, symbol, "OPT", "SMART", "", currency, local, symbol,
        multiplier=multiplier, expiry=expiry, strike=text_of(strike), right=right, venues=US_OPTION_VENUES,
        under_symbol=symbol, under_sec_type="STK", under_con_id=con_ids.get(f"{symbol}.SMART", 0),
    )  # fmt: skip


def _last_trade_date(exchange: str, year: int, month: int) -> date:
    """CME equity index futures end on the third Friday, HKFE ones on the last business day but one."""
    if exchange == "HKFE":
        following = date(year + month // 12, month % 12 + 1, 1)
        return TradingDays.of(exchange).last(2, following)[0]
    first = date(year, month, 1)
    return first + timedelta(days=(4 - first.weekday()) % 7 + 14)
