"""The Gateway's own codes for markets, instruments, orders and errors, as tables (vbrokers-openapi 4, 9, 10, 12).

Prices and money go out as text in trading answers and as numbers in market data (2.3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from brokersim.model import Instrument, Order, Segment
from brokersim.truth import plain

# --- errors (12.1) ---------------------------------------------------------------------------------------------

ERRORS: dict[str, str] = {
    "1001": "系统错误",
    "1006": "没有权限",
    "1007": "重复提交",
    "1008": "调用失败",
    "1009": "接口不存在",
    "1010": "非法请求",
    "1011": "系统繁忙",
    "1012": "用户未登录",
    "1013": "用户被挤下线",
    "1014": "登录超时",
    "1015": "调用超时",
    "1016": "参数无效",
    "1017": "长连接失败",
    "1018": "正在重连",
    "2001": "缺少参数",
    "2002": "参数值无效",
    "3002": "可用资金不足",
    "4001": "市场已休市",
    "4002": "交易所拒绝",
}


class GatewayError(Exception):
    """A business refusal: ``ok`` false with this code and text (2.2)."""

    def __init__(self, code: str, text: str | None = None) -> None:
        self.code = code
        self.text = ERRORS.get(code, "") if text is None else text
        super().__init__(f"{code} {self.text}".strip())


# --- markets (4.1, 9.3) ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MarketCode:
    """One exchangeType: vn.py's exchange, the code's suffix in requests, the currency of its funds."""

    exchange_type: str
    exchange: str
    suffix: str
    currency: str
    zone: str


MARKETS: dict[str, MarketCode] = {
    "K": MarketCode("K", "SEHK", ".HK", "HKD", "Asia/Hong_Kong"),
    "P": MarketCode("P", "SMART", "", "USD", "America/New_York"),
    "v": MarketCode("v", "SZSE", ".SZ", "CNY", "Asia/Shanghai"),
    "t": MarketCode("t", "SSE", ".SH", "CNY", "Asia/Shanghai"),
}
MARKET_OF_EXCHANGE = {market.exchange: market for market in MARKETS.values()}

DATA_TYPES: dict[tuple[str, str], int] = {
    ("SEHK", "stock"): 10000,
    ("SEHK", "index"): 10001,
    ("SEHK", "etf"): 10002,
    ("SMART", "stock"): 20000,
    ("SMART", "index"): 20001,
    ("SMART", "etf"): 20002,
    ("SMART", "option"): 20003,
    ("SSE", "stock"): 30000,
    ("SSE", "index"): 30001,
    ("SSE", "etf"): 30002,
    ("SZSE", "stock"): 30000,
    ("SZSE", "index"): 30001,
    ("SZSE", "etf"): 30002,
}
STAR_PREFIX, STAR_DATA_TYPE = "688", 30008
OPTION_KIND = "option"
_OPTION = re.compile(r"(?P<root>[A-Z]+)-(?P<expiry>\d{8})-(?P<right>[CP])-(?P<strike>[\d._]+)(-.*)?")


@dataclass(frozen=True)
class OptionTerms:
    """What a vn.py option symbol says (design 6: a half strike is written ``152_5``)."""

    root: str
    expiry: str
    right: Literal["C", "P"]
    strike: Decimal

    @property
    def code(self) -> str:
        """Root, yyMMdd, C or P, strike x 1000 (4.1)."""
        return f"{self.root}{self.expiry[2:]}{self.right}{int(self.strike * 1000):08d}"


def option_terms(instrument: Instrument) -> OptionTerms | None:
    """The terms of an option instrument; None for anything else."""
    match = _OPTION.fullmatch(instrument.symbol) if instrument.kind == OPTION_KIND else None
    if match is None:
        return None
    right: Literal["C", "P"] = "C" if match["right"] == "C" else "P"
    return OptionTerms(match["root"], match["expiry"], right, Decimal(match["strike"].replace("_", ".")))


def wire_code(instrument: Instrument) -> str:
    """``00700.HK``, ``AAPL``, ``BRK.B``, ``601398.SH``, ``AAPL261016C00150000`` (4.1)."""
    if terms := option_terms(instrument):
        return terms.code
    if instrument.exchange == "SMART":
        return instrument.symbol.replace("-", ".")
    return instrument.symbol + MARKET_OF_EXCHANGE[instrument.exchange].suffix


def data_type(instrument: Instrument) -> int | None:
    """The dataType of 4.2; None for what this broker does not carry."""
    if instrument.exchange == "SSE" and instrument.symbol.startswith(STAR_PREFIX):
        return STAR_DATA_TYPE
    return DATA_TYPES.get((instrument.exchange, instrument.kind))


class Directory:
    """The instruments that this broker carries, by their codes on the wire."""

    def __init__(self, instruments: dict[str, Instrument]) -> None:
        self._instruments = instruments
        self._by_code: dict[str, Instrument] = {}
        self._size = 0

    def carried(self) -> dict[str, Instrument]:
        """All of them, by wire code; rebuilt when the market has gained an instrument."""
        if self._size != len(self._instruments):
            self._size = len(self._instruments)
            carried = (one for one in self._instruments.values() if data_type(one) is not None)
            self._by_code = {wire_code(one): one for one in carried}
        return self._by_code

    def security(self, code: str, wanted: int) -> Instrument | None:
        """The instrument of a Security object; None when the code is unknown or the dataType another one's (4.2)."""
        instrument = self.carried().get(code)
        return instrument if instrument is not None and data_type(instrument) == wanted else None

    def tradable(self, code: str, market: MarketCode) -> Instrument | None:
        """The instrument of a stockCode in one market; an index is not tradable."""
        instrument = self.carried().get(code)
        if instrument is None or instrument.exchange != market.exchange or instrument.kind == "index":
            return None
        return instrument

    def by_vt_symbol(self, vt_symbol: str) -> Instrument | None:
        """The instrument by vn.py's name, if this broker carries it."""
        instrument = self._instruments.get(vt_symbol)
        return instrument if instrument is not None and data_type(instrument) is not None else None


# --- sessions of a quote (4.3) ---------------------------------------------------------------------------------

SEGMENT_CODES: dict[Segment, int] = {"regular": 1, "pre": -1, "post": -2, "night": -3, "closed": 1}
"""A closed market shows its last regular row."""


# --- orders (9.1, 10) ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TypeCode:
    """One entrustType in one market: its base order, and the rules that go with it."""

    base: Literal["LIMIT", "MARKET"]
    auction: bool = False
    odd_lot: bool = False
    fill_and_kill: bool = False
    grey: bool = False
    iceberg: bool = False


_LIMIT, _MARKET = TypeCode("LIMIT"), TypeCode("MARKET")
ORDER_TYPES: dict[str, dict[str, TypeCode]] = {
    "K": {
        "0": TypeCode("LIMIT", auction=True),
        "1": TypeCode("MARKET", auction=True),
        "2": _LIMIT,
        "3": _LIMIT,
        "4": TypeCode("LIMIT", fill_and_kill=True),
        "6": TypeCode("LIMIT", grey=True),
        "7": TypeCode("LIMIT", odd_lot=True),
    },
    "P": {
        "3": _LIMIT,
        "5": _MARKET,
        "8": TypeCode("MARKET", iceberg=True),
        "9": TypeCode("LIMIT", iceberg=True),
        "10": _MARKET,
        "11": _LIMIT,
    },
    "v": {"3": _LIMIT},
    "t": {"3": _LIMIT},
}
CONDITIONAL_TYPES: dict[str, frozenset[str]] = {
    "K": frozenset({"31", "33", "35"}),
    "P": frozenset({"31", "32", "33", "34", "35", "36"}),
    "v": frozenset(),
    "t": frozenset(),
}
SIDES = {"1": "LONG", "2": "SHORT", "3": "LONG", "4": "SHORT"}
SHORT_SELLING_SIDES = frozenset({"3", "4"})

STATUS_TEXT: dict[str, str] = {
    "0": "未报", "1": "待报", "2": "已报", "3": "已报待撤", "4": "部成待撤", "5": "部撤", "6": "已撤", "7": "部成",
    "8": "已成", "9": "废单", "A": "已报待改", "E": "部成待改",
}  # fmt: skip
_STATUS = {"SUBMITTING": "1", "NOTTRADED": "2", "PARTTRADED": "7", "ALLTRADED": "8", "REJECTED": "9"}


def status_code(order: Order) -> str:
    """The order's status by section 10; a cancel after a fill is 5, before any fill 6."""
    if order.status == "CANCELLED":
        return "5" if order.traded else "6"
    return _STATUS[order.status]


# --- numbers (2.3) ---------------------------------------------------------------------------------------------

_CENT, _MILL = Decimal("0.01"), Decimal("0.001")


def price_text(value: Decimal) -> str:
    """A price as trading answers write it: three places, more only where the price has more."""
    return f"{value.quantize(_MILL):f}" if value == value.quantize(_MILL) else plain(value)


def money_text(value: Decimal) -> str:
    """Money in trading answers: two places."""
    return f"{value.quantize(_CENT):f}"
