"""How instruments are written: what a person types, the one vt_symbol it comes to, and the contract TWS is asked for.

Stocks are the kit's (``AAPL.SMART``, ``BRK-B.SMART``, ``00700.SEHK``, ``600519.SSE``). Everything else is written as in
vnpy_ib (design, section 6; reference "tws-api", section 14): parts joined by ``-``, the currency and TWS's security
type last.

======================================  ===============================================================
``EUR-USD-CASH.IDEALPRO``               also ``EUR.USD`` and ``EURUSD`` on IDEALPRO
``ES-202612-USD-FUT.CME``               month, or last trading day as ``20261218``
``SI-202612-1000-USD-FUT.COMEX``        with the multiplier, where a product has several
``AAPL-20261218-C-152_5-100-USD-OPT``   expiry, right, strike, multiplier; also the OCC code
``SPX-USD-IND.CBOE``                    and the same for CMDTY, CFD, CRYPTO, FUND
``265598.SMART``                        digits alone: a conId, except on SEHK, SSE and SZSE
======================================  ===============================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from ib_async.contract import Contract, ContractDetails
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.symbols import MAX_LENGTH, SymbolError, canonical, canonical_vt
from vnpy_brokerkit.trading_hours import US_STOCK_VENUES

Key = tuple[str, Exchange]

# TWS's names of exchanges where they are not vn.py's values.
EXCHANGE_VT2IB: Mapping[Exchange, str] = {
    Exchange.SSE: "SEHKNTL",
    Exchange.SZSE: "SEHKSZSE",
    Exchange.EUREX: "EUREX",
    Exchange.GLOBEX: "CME",
    Exchange.OTC: "PINK",
    Exchange.TOCOM: "OSE.JPN",
    Exchange.KRX: "KSE",
    Exchange.LME: "LMEOTC",
}
EXCHANGE_IB2VT: Mapping[str, Exchange] = {
    **{exchange.value: exchange for exchange in Exchange},
    **{name: exchange for exchange, name in EXCHANGE_VT2IB.items() if exchange is not Exchange.GLOBEX},
    "GLOBEX": Exchange.CME,
    "ECBOT": Exchange.CBOT,
    "DTB": Exchange.EUREX,
}

# Stock Connect northbound, which TWS trades in offshore renminbi (section 14.2, unconfirmed there).
CONNECT: Mapping[Exchange, tuple[str, str]] = {
    Exchange.SSE: ("SEHKNTL", "CNH"),
    Exchange.SZSE: ("SEHKSZSE", "CNH"),
}
_CONNECT_BY_NAME: Mapping[str, Exchange] = {name: exchange for exchange, (name, _currency) in CONNECT.items()}
# Where a row does not name the exchange: Shanghai's codes begin with these.
_SHANGHAI = ("5", "6", "9")

# Types that need no more than symbol and currency. What SMART routes is written on SMART.
_PLAIN_TYPES = frozenset({"STK", "CASH", "IND", "CMDTY", "CFD", "CRYPTO", "FUND"})
_SMART_TYPES = frozenset({"STK", "CMDTY", "CFD", "CRYPTO", "FUND"})
_FUTURES = frozenset({"FUT"})
_OPTIONS = frozenset({"OPT", "FOP"})
_WARRANTS = frozenset({"WAR", "IOPT"})
_RIGHTS: Mapping[str, str] = {"C": "C", "CALL": "C", "P": "P", "PUT": "P"}
_OPTION_VENUES = US_STOCK_VENUES | {Exchange.CBOE}
STANDARD_MULTIPLIER = "100"
"""Of listed US options; what an OCC code leaves out."""
LARGEST_CON_ID = 2**31 - 1

# A stock in dollars whose details name another zone is listed abroad, and is no US ticker.
_AMERICAN_ZONES = frozenset({"America/New_York", "America/Chicago"})

_TICKER = re.compile(r"[A-Z0-9]{1,12}(?:[- ][A-Z0-9]{1,6})?")
_PAIR = re.compile(r"([A-Z]{3})-?([A-Z]{3})")
_OCC = re.compile(r"([A-Z0-9]{1,6}?)([0-9]{6})([CP])([0-9]{8})")
_CURRENCY = re.compile(r"[A-Z]{3}")
_MONTH_OR_DAY = re.compile(r"20[0-9]{4}(?:[0-9]{2})?")
_NUMBER = re.compile(r"[0-9]{1,12}(?:[._][0-9]{1,8})?")
# Weekly and daily classes (VX49) share months with the monthly one: only the day tells them apart.
_WEEKLY_CLASS = re.compile(r".*[0-9]{2}")


@dataclass(frozen=True)
class Form:
    """The parts of a written instrument that is no plain stock. Numbers are text as TWS takes it, ``""``: not given."""

    symbol: str
    currency: str
    kind: str
    expiry: str = ""
    right: str = ""
    strike: str = ""
    multiplier: str = ""

    def text(self) -> str:
        parts = (
            self.symbol.replace(" ", "-"),
            self.expiry,
            self.right,
            self.strike.replace(".", "_"),
            self.multiplier.replace(".", "_"),
            self.currency,
            self.kind,
        )
        return "-".join(part for part in parts if part)


def spelling(symbol: str, exchange: Exchange) -> Key:
    """The one ``(symbol, exchange)`` of what a person typed. Raises :class:`SymbolError`.

    Odd text comes through, as in the kit; :func:`to_query` is what refuses it. A conId stays digits: what it stands for
    only TWS can tell.
    """
    symbol, exchange = canonical(symbol, exchange)
    if match := _OCC.fullmatch(symbol):
        root, day, right, strike = match.groups()
        form = Form(root, "USD", "OPT", f"20{day}", right, _plain(Decimal(strike) / 1000), STANDARD_MULTIPLIER)
        return form.text(), Exchange.SMART
    if exchange is Exchange.IDEALPRO and (match := _PAIR.fullmatch(symbol)):
        return Form(match[1], match[2], "CASH").text(), exchange
    read = parse(symbol)
    if read is None:
        return symbol, exchange
    return _home(read, exchange)


def spelled(vt_symbol: str) -> Key | None:
    """The key of an instrument that a person wrote with its exchange, ``None`` where TWS could not be asked for it.

    Raises :class:`SymbolError` for a text that can be no symbol.
    """
    symbol, _dot, exchange = vt_symbol.rpartition(".")
    if exchange not in {one.value for one in Exchange}:
        symbol, _dot, exchange = canonical_vt(vt_symbol).rpartition(".")
    key = spelling(symbol, Exchange(exchange))
    return key if to_query(*key) else None


def _home(form: Form, exchange: Exchange) -> Key:
    if form.kind == "CASH":
        return form.text(), Exchange.IDEALPRO
    if form.kind == "STK" and form.currency in ("CNH", "CNY") and re.fullmatch("[0-9]{6}", form.symbol):
        return form.symbol, exchange if exchange in CONNECT else _connect_exchange(form.symbol)
    if exchange is Exchange.GLOBEX:
        return form.text(), Exchange.CME
    is_american_option = form.kind == "OPT" and form.currency == "USD" and exchange in _OPTION_VENUES
    if is_american_option or (form.kind in _SMART_TYPES and exchange in US_STOCK_VENUES):
        return form.text(), Exchange.SMART
    return form.text(), exchange


def parse(symbol: str) -> Form | None:
    """Read a canonical symbol in the form of vnpy_ib; ``None`` for what is not in that form."""
    parts = symbol.split("-")
    if len(parts) < 3 or not _CURRENCY.fullmatch(parts[-2]):
        return None
    currency, kind, middle = parts[-2], parts[-1], parts[:-2]
    if kind in _PLAIN_TYPES:
        root = " ".join(middle)
        return Form(root, currency, kind) if _TICKER.fullmatch(root) else None
    root, details = middle[0], middle[1:]
    if not _TICKER.fullmatch(root) or not details or not _MONTH_OR_DAY.fullmatch(details[0]):
        return None
    if kind in _FUTURES and len(details) <= 2:
        multiplier = _number(details[1]) if len(details) == 2 else ""
        return None if multiplier is None else Form(root, currency, kind, details[0], multiplier=multiplier)
    if kind in _OPTIONS and len(details) in (3, 4):
        right, strike = _RIGHTS.get(details[1]), _number(details[2])
        multiplier = _number(details[3]) if len(details) == 4 else _usual_multiplier(kind)
        if right and strike and multiplier is not None:
            return Form(root, currency, kind, details[0], right, strike, multiplier)
    return None


def _usual_multiplier(kind: str) -> str:
    return STANDARD_MULTIPLIER if kind == "OPT" else ""


def to_query(symbol: str, exchange: Exchange) -> Contract | None:
    """The contract to ask TWS for, from a canonical symbol; ``None`` for what can be none.

    Names travel as printable ASCII (section 3): other text, and text that is in no known form, must not reach the wire.
    """
    queries = to_queries(symbol, exchange)
    return queries[0] if queries else None


def to_queries(symbol: str, exchange: Exchange) -> list[Contract]:
    """:func:`to_query`, followed by what to ask where TWS knows no such contract."""
    if not symbol.isascii() or not symbol.isprintable():
        return []
    if exchange in CONNECT:
        name, currency = CONNECT[exchange]
        is_code = re.fullmatch("[0-9]{6}", symbol)
        return [Contract(secType="STK", symbol=symbol, exchange=name, currency=currency)] if is_code else []
    if exchange is Exchange.SEHK and re.fullmatch("[0-9]+", symbol):
        return _hong_kong(symbol) if len(symbol) == 5 else []
    if re.fullmatch("[0-9]+", symbol):
        con_id = int(symbol) if len(symbol) <= 10 else 0
        return [Contract(conId=con_id)] if 0 < con_id <= LARGEST_CON_ID else []
    form = parse(symbol)
    if form:
        return _written(form, exchange)
    if exchange is Exchange.SMART and _TICKER.fullmatch(symbol):
        return [Contract(secType="STK", symbol=symbol.replace("-", " "), exchange="SMART", currency="USD")]
    return []


def _hong_kong(code: str) -> list[Contract]:
    """A stock without its zeros (section 14.2); else one that trades in another currency; else a warrant or CBBC."""
    short = code.lstrip("0") or "0"
    return [
        Contract(secType="STK", symbol=short, exchange="SEHK", currency="HKD"),
        Contract(secType="STK", symbol=short, exchange="SEHK"),
        Contract(secType="WAR", localSymbol=short, exchange="SEHK"),
        Contract(secType="IOPT", localSymbol=short, exchange="SEHK"),
    ]


def _written(form: Form, exchange: Exchange) -> list[Contract]:
    name = EXCHANGE_VT2IB.get(exchange, exchange.value)
    if exchange is Exchange.SMART and form.kind not in (*_SMART_TYPES, "OPT"):
        name = ""  # SMART routes no futures: TWS names the exchange
    query = Contract(
        secType=form.kind,
        symbol=form.symbol,
        exchange=name,
        currency=form.currency,
        lastTradeDateOrContractMonth=form.expiry,
        right=form.right,
        strike=float(form.strike or 0),
        multiplier=form.multiplier,
    )
    if form.kind == "CRYPTO":
        query.exchange = ""
    queries = [query]
    if form.kind == "OPT" and form.currency == "USD" and len(form.expiry) == 8 and len(form.symbol) <= 6:
        # The root may be a class of its own (SPXW on SPX): the local symbol is the OCC code, root padded to six.
        thousandths = Decimal(form.strike) * 1000
        if thousandths == int(thousandths) and thousandths < 10**8:
            local = f"{form.symbol:<6}{form.expiry[2:]}{form.right}{int(thousandths):08d}"
            queries.append(Contract(secType="OPT", localSymbol=local, exchange=name, currency="USD"))
    return queries


def written_form(contract: Contract, details: ContractDetails | None = None) -> Key | None:
    """The canonical key of a contract that TWS described; ``None`` where that takes more than the row tells.

    Rows of positions, orders and executions carry the executing venue, or no exchange at all (sections 6.5 and 6.6), so
    a future needs its details, and so does what trades on one venue alone.
    """
    key = _written_form(contract, details)
    if key is None:
        return None
    try:
        return key if spelling(*key) == key and len(key[0]) <= MAX_LENGTH and to_query(*key) else None
    except SymbolError:
        return None


def _written_form(contract: Contract, details: ContractDetails | None) -> Key | None:
    kind, symbol, currency = contract.secType, contract.symbol, contract.currency
    if kind == "STK":
        return _stock(contract, details)
    if kind in _WARRANTS:
        code = contract.localSymbol
        return (code.zfill(5), Exchange.SEHK) if currency == "HKD" and re.fullmatch("[0-9]{1,5}", code) else None
    if kind == "CASH":
        return Form(symbol, currency, kind).text(), Exchange.IDEALPRO
    if kind in _SMART_TYPES:
        return Form(symbol, currency, kind).text(), Exchange.SMART
    home = EXCHANGE_IB2VT.get(contract.exchange or contract.primaryExchange)
    if kind == "OPT" and currency == "USD":
        home = Exchange.SMART
    if home is None and details:
        home = Exchange.SMART  # vn.py has no name for it; the details keep TWS's own
    if home is None:
        return None
    if kind == "IND":
        return Form(symbol, currency, kind).text(), home
    if kind in _FUTURES and details:
        return _future(contract, details).text(), home
    if kind in _OPTIONS:
        return _option(contract).text(), home
    return None


def _stock(contract: Contract, details: ContractDetails | None) -> Key | None:
    symbol, currency = contract.symbol, contract.currency
    venues = {contract.exchange, contract.primaryExchange}
    if connect := next((_CONNECT_BY_NAME[name] for name in venues if name in _CONNECT_BY_NAME), None):
        return symbol, connect
    if symbol.isdecimal() and (currency == "HKD" or "SEHK" in venues):
        return symbol.zfill(5), Exchange.SEHK
    if currency in ("CNH", "CNY") and re.fullmatch("[0-9]{6}", symbol):
        return symbol, _connect_exchange(symbol)
    if currency == "USD":
        abroad = details is not None and not _is_american(details.timeZoneId)
        return None if abroad else (re.sub("[ .]", "-", symbol), Exchange.SMART)
    return Form(symbol, currency, "STK").text(), Exchange.SMART


def _future(contract: Contract, details: ContractDetails) -> Form:
    day = contract.lastTradeDateOrContractMonth
    month = details.contractMonth or day[:6]
    own_class = contract.tradingClass not in ("", contract.symbol)
    return Form(
        contract.symbol,
        contract.currency,
        contract.secType,
        expiry=day if own_class and _WEEKLY_CLASS.fullmatch(contract.tradingClass) else month,
        multiplier=_plain_text(contract.multiplier) if own_class else "",
    )


def _option(contract: Contract) -> Form:
    own_class = contract.tradingClass not in ("", contract.symbol)
    american = contract.secType == "OPT" and contract.currency == "USD"
    return Form(
        contract.tradingClass if own_class and american else contract.symbol,
        contract.currency,
        contract.secType,
        expiry=contract.lastTradeDateOrContractMonth,
        right=_RIGHTS.get(contract.right, ""),
        strike=_plain(Decimal(str(contract.strike))),
        multiplier=_plain_text(contract.multiplier),
    )


def _is_american(zone: str) -> bool:
    return not zone or zone in _AMERICAN_ZONES or zone.startswith(("US/", "EST", "EDT", "Eastern "))


def _connect_exchange(code: str) -> Exchange:
    return Exchange.SSE if code.startswith(_SHANGHAI) else Exchange.SZSE


def _number(text: str) -> str | None:
    """A number as it is written in a symbol, as TWS takes it; ``None`` for none."""
    return _plain(Decimal(text.replace("_", "."))) if _NUMBER.fullmatch(text) else None


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _plain_text(text: str) -> str:
    return _number(text) or ""
