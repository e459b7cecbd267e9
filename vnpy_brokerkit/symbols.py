"""One vt_symbol for one instrument, however a person spells it (design, section 6).

========================  =====================  ==============================================================
instrument                canonical              also accepted
========================  =====================  ==============================================================
US stock                  ``AAPL.SMART``         ``aapl``, ``AAPL.US``, ``US.AAPL``, ``AAPL-USD-STK``, US venues
US class share            ``BRK-B.SMART``        ``BRK.B``, ``BRK B``, ``BRK/B``
HK stock                  ``00700.SEHK``         ``700``, ``0700.HK``, ``HK.00700``, ``700-HKD-STK``
Stock Connect             ``600519.SSE``         ``600519.SH``, ``SH.600519``, vn.py's exchange SHHK
                          ``000001.SZSE``        ``000001.SZ``, ``SZ.000001``, vn.py's exchange SZHK
anything else             as IBKR users type it  lower case and blanks
========================  =====================  ==============================================================

What the text itself says wins over the exchange beside it. Digits alone on SMART or a US venue are a conId and stay as
they are. A canonical symbol has no dot and no blank, since vn.py's apps split at dots (vnpy-engine 0, trap 5), and is
its own canonical spelling.
"""

from __future__ import annotations

import re
import unicodedata

from vnpy.trader.constant import Exchange

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.trading_hours import US_STOCK_VENUES

# IBKR's longest forms, options with every field, stay below 50.
MAX_LENGTH = 64

# A spelling that names its market, and what that makes of the exchange. Only the whole suffix counts: BRK.B has none.
_SPELLINGS: tuple[tuple[re.Pattern[str], Exchange], ...] = tuple(
    (re.compile(pattern), exchange)
    for pattern, exchange in (
        (r"(.+)\.(?:US|SMART)", Exchange.SMART),
        (r"US\.(.+)", Exchange.SMART),
        (r"(.+)-USD-STK", Exchange.SMART),
        (r"([0-9]+)\.(?:HK|SEHK)", Exchange.SEHK),
        (r"HK\.([0-9]+)", Exchange.SEHK),
        (r"([0-9]+)-HKD-STK", Exchange.SEHK),
        (r"([0-9]+)\.(?:SH|SSE)", Exchange.SSE),
        (r"SH\.([0-9]+)", Exchange.SSE),
        (r"([0-9]+)\.(?:SZ|SZSE)", Exchange.SZSE),
        (r"SZ\.([0-9]+)", Exchange.SZSE),
    )
)

# Exchanges that are other names of one market.
_HOME: dict[Exchange, Exchange] = {
    **dict.fromkeys(US_STOCK_VENUES, Exchange.SMART),
    Exchange.SHHK: Exchange.SSE,
    Exchange.SZHK: Exchange.SZSE,
}

# Stock codes are all digits, of this many.
_CODE_WIDTH: dict[Exchange, int] = {Exchange.SEHK: 5, Exchange.SSE: 6, Exchange.SZSE: 6}

# IBKR's written form, currency and security type last (NDX-USD-IND): its exchange is part of what it names.
_IBKR_FORM = re.compile(r".+-[A-Z]{3}-[A-Z]{3,7}")
# Option Clearing Corporation: root padded with blanks, yymmdd, right, strike x 1000.
_OCC = re.compile(r"([A-Z0-9]{1,6}) *([0-9]{6}[CP][0-9]{8})")
# A class, preferred, warrant or right; longer tails (SAP.DE, AAPL.LSE) are other people's names of exchanges.
_US_TICKER = re.compile(r"[A-Z]{1,6}(?:[ ./-](?:[A-Z]|PR[A-Z]|WS|RT))?")

_DECIMAL_POINT = re.compile(r"(?<=[0-9])\.(?=[0-9])")
_BLANKS_AND_DOTS = re.compile(r"-*[\s.]+-*")
_CLASS_SEPARATORS = re.compile(r"[\s./-]+")

_EXCHANGES: dict[str, Exchange] = {exchange.value: exchange for exchange in Exchange}


class SymbolError(ValueError):
    """Raised for a text that can be no symbol; says in one line which text, why, and what to type instead."""


def canonical(symbol: str, exchange: Exchange) -> tuple[str, Exchange]:
    """The one ``(symbol, exchange)`` of an instrument that is typed as ``symbol`` on ``exchange``.

    Odd text that might still be a symbol somewhere comes through, without dots and blanks. Raises SymbolError for what
    cannot be one: nothing but blanks and signs, control characters, more than 64 characters.
    """
    text, market = _clean(symbol), exchange
    while (step := _step(text, market)) != (text, market):
        text, market = step
    if not any(character.isalnum() for character in text):
        raise SymbolError(_("合约代码 {symbol} 是空的，请填写如 AAPL、00700 的代码").format(symbol=_shown(symbol)))
    return text, market


def canonical_vt(vt_symbol: str) -> str:
    """The canonical vt_symbol of a text that holds symbol and market: ``BRK.B.SMART``, ``700.HK``, ``US.AAPL``.

    Letters alone are a US stock. Raises SymbolError as :func:`canonical` does, and where the market cannot be told.
    """
    text = _clean(vt_symbol)
    head, _dot, tail = text.rpartition(".")
    exchange = _EXCHANGES.get(tail)
    # Some exchanges are tickers too: US.CME is the stock of CME Group, US.NASDAQ a stock named US on that venue.
    if head == "US" and exchange not in US_STOCK_VENUES:
        exchange = None
    if exchange is not None:
        symbol, market = canonical(head, exchange)
    elif _US_TICKER.fullmatch(text) or any(pattern.fullmatch(text) for pattern, _market in _SPELLINGS):
        symbol, market = canonical(text, Exchange.SMART)
    else:
        raise SymbolError(
            _("看不出合约 {symbol} 属于哪个市场，请写成 AAPL.SMART、00700.SEHK 的形式").format(symbol=_shown(vt_symbol))
        )
    return f"{symbol}.{market.value}"


def _clean(symbol: str) -> str:
    """Full-width to plain, upper case, outer blanks and dots gone."""
    # Twice, since an upper-case letter can join a combining mark that its lower case could not.
    text = unicodedata.normalize("NFKC", _upper(unicodedata.normalize("NFKC", symbol))).strip()
    if len(text) > MAX_LENGTH:
        raise SymbolError(
            _("合约代码 {symbol} 太长，最多 {limit} 个字符").format(symbol=_shown(symbol), limit=MAX_LENGTH)
        )
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise SymbolError(_("合约代码 {symbol} 含有不可见的控制字符，请重新输入").format(symbol=_shown(symbol)))
    return re.sub(r"^[\s.]+|[\s.]+$", "", text)


def _upper(text: str) -> str:
    """ASCII letters only: tickers have no others, and other scripts' upper case may change their length."""
    return "".join(character.upper() if character.isascii() else character for character in text)


def _step(text: str, market: Exchange) -> tuple[str, Exchange]:
    """One reading of the text. Each one takes something off or leaves all as it is, so that repeating it ends."""
    for pattern, named in _SPELLINGS:
        if match := pattern.fullmatch(text):
            return match[1], named
    if match := _OCC.fullmatch(text):
        return match[1] + match[2], market
    is_ibkr_form = _IBKR_FORM.fullmatch(text) is not None
    if not is_ibkr_form:
        market = _HOME.get(market, market)
    return _tidy(text, market, is_ibkr_form=is_ibkr_form), market


def _tidy(text: str, market: Exchange, *, is_ibkr_form: bool) -> str:
    text = _DECIMAL_POINT.sub("_", text)  # a half strike, 152.5, is written 152_5
    if market is Exchange.SMART and not is_ibkr_form:
        return _CLASS_SEPARATORS.sub("-", text).strip("-")
    text = _BLANKS_AND_DOTS.sub("-", text)
    width = _CODE_WIDTH.get(market)
    if width is not None and re.fullmatch("[0-9]+", text):
        return text.lstrip("0").zfill(width)
    return text


def _shown(symbol: str) -> str:
    """The text as a log line can show it: on one line, escaped, not endless."""
    return repr(symbol if len(symbol) <= MAX_LENGTH else symbol[:MAX_LENGTH] + "…")
