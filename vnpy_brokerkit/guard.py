"""Checks before the wire: what no broker should ever be asked to do (design, section 4, "Guards on the wire").

The limits stand in ``broker_limits.json`` in vn.py's folder; a refusal is one sentence for the trader, and the order
never leaves this machine. Prices are per share in the contract's currency, volumes shares.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
from vnpy.trader.constant import Direction, Offset, OrderType
from vnpy.trader.object import OrderRequest

from .i18n import _
from .price_grid import on_grid
from .tracker import plain_text

LIMITS_FILE = "broker_limits.json"
WORDS = (("direction", Direction), ("type", OrderType), ("offset", Offset))
"""What a request must say in vn.py's own words."""
PRICED = frozenset({OrderType.LIMIT, OrderType.STOP})
"""Types whose price goes out."""
TOO_MUCH = Decimal(10) ** 15
"""From here on a price or volume is no number of a market, and arithmetic on it may fail."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits that a user may change, with the design's defaults."""

    aggressive_percent: float = 5.0
    """A limit order may be priced this far through the market (buy above ask, sell below bid)."""
    orders_per_second: int = 10
    orders_per_day: int = 2000
    max_notional: float = 1_000_000.0
    """Price x volume x size of one order, in the contract's currency."""
    synthetic_limit_percent: float = 3.0
    """Distance of the synthetic limit_up and limit_down from the last price."""
    list_reads_per_second: float = 5.0


def load_limits(folder: Path) -> tuple[Limits, str]:
    """Read the limits of a folder; return them and one line about what is wrong with the file (``""`` if nothing is).

    A file that can't be used never loosens anything: the defaults hold.
    """
    path = folder / LIMITS_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Limits(), ""
    except OSError as error:
        return Limits(), _("读取{}失败：{}；使用默认限额").format(LIMITS_FILE, error.strerror)
    try:
        limits = msgspec.json.decode(text, type=Limits)
        _must_be_positive(limits)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        return Limits(), _("{}内容有误（{}），使用默认限额；请修正该文件").format(LIMITS_FILE, error)
    return limits, ""


def _must_be_positive(limits: Limits) -> None:
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if not 0 < value < 1e15:
            raise ValueError(f"{name} = {value}")


def malformed(request: OrderRequest) -> str:
    """Return why a request is no order at all, ``""`` if it is one: vn.py hands on whatever a strategy has built."""
    for name, kind in WORDS:
        value = getattr(request, name)
        if not isinstance(value, kind):
            return _("委托请求的{}是{!r}，不是vn.py的{}，未发送；请检查发出委托的程序").format(
                name, value, kind.__name__
            )
    return ""


def unfit(vt_symbol: str, kind: OrderType, price: Decimal, volume: Decimal) -> str:
    """Return why no market takes an order of this price and volume, in words, or ``""``; no setting changes it."""
    if not _is_usable(volume):
        return _("{}：委托数量{}无效，未发送；数量必须大于0").format(vt_symbol, _shown(volume))
    if kind in PRICED and not _is_usable(price):
        if kind is OrderType.STOP:
            return _("{}：触发价{}无效，未发送；停止单的触发价必须大于0").format(vt_symbol, _shown(price))
        return _("{}：委托价{}无效，未发送；限价单价格必须大于0").format(vt_symbol, _shown(price))
    return ""


def _is_usable(number: Decimal) -> bool:
    return number.is_finite() and 0 < number < TOO_MUCH


def _shown(number: Decimal) -> str:
    return plain_text(number) if number.is_finite() and abs(number) < TOO_MUCH else str(number)


@dataclass(frozen=True)
class OrderFacts:
    """What the guard needs to know of an order and of its market. Zero means: not known."""

    vt_symbol: str
    direction: Direction
    type: OrderType
    price: Decimal
    volume: Decimal
    lot: Decimal
    tick: Decimal
    size: Decimal = Decimal(1)
    odd_lot: bool = False
    """This order may be a part of a lot."""
    last: Decimal = Decimal(0)
    bid: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)


class Guard:
    """The limits at work for one gateway; counts the orders that passed."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.stopped = False
        """The kill switch: no new order leaves. Set from any thread, and read where an order would leave."""
        self._second: deque[float] = deque()
        self._day: date | None = None
        self._today = 0

    def check(self, facts: OrderFacts, monotonic: float, today: date) -> str:
        """Return why the order must not leave, in words, or ``""``; an order that passes is counted."""
        refusal = self.stop_reason() or _shape(facts) or self._price(facts) or self._notional(facts)
        refusal = refusal or self._rate(monotonic, today)
        if not refusal:
            self._second.append(monotonic)
            self._today += 1
        return refusal

    def stop_reason(self) -> str:
        """Return why no order may leave at all, in words, or ``""``."""
        return _("紧急停止中，新委托未发送；如需下单请先在“券商监控”中解除") if self.stopped else ""

    def resume(self, today: date, sent: int) -> None:
        """An earlier process sent orders on this day: they count, too."""
        if self._day != today:
            self._day, self._today = today, 0
        self._today = max(self._today, sent)

    def _price(self, facts: OrderFacts) -> str:
        if facts.type is not OrderType.LIMIT:
            return ""
        reach = Decimal(str(self.limits.aggressive_percent)) / 100
        if facts.direction is Direction.LONG:
            market = facts.ask or facts.last
            beyond = market > 0 and facts.price > market * (1 + reach)
        else:
            market = facts.bid or facts.last
            beyond = market > 0 and facts.price < market * (1 - reach)
        if beyond:
            return _("{}：委托价{}越过市价{}超过{:g}%，未发送；请检查价格，或修改{}的aggressive_percent").format(
                facts.vt_symbol,
                plain_text(facts.price),
                plain_text(market),
                self.limits.aggressive_percent,
                LIMITS_FILE,
            )
        return ""

    def _notional(self, facts: OrderFacts) -> str:
        price = facts.price
        if facts.type is not OrderType.LIMIT:
            price = max(facts.price if facts.type is OrderType.STOP else Decimal(0), facts.ask, facts.last, facts.bid)
        amount = price * facts.volume * facts.size
        if amount > Decimal(str(self.limits.max_notional)):
            return _("{}：委托金额{:,.2f}超过单笔上限{:,.2f}，未发送；请减少数量，或修改{}的max_notional").format(
                facts.vt_symbol, amount, self.limits.max_notional, LIMITS_FILE
            )
        return ""

    def _rate(self, monotonic: float, today: date) -> str:
        while self._second and monotonic - self._second[0] >= 1:
            self._second.popleft()
        if self._day != today:
            self._day, self._today = today, 0
        if len(self._second) >= self.limits.orders_per_second:
            return _("一秒内委托超过{}笔，未发送；请放慢，或修改{}的orders_per_second").format(
                self.limits.orders_per_second, LIMITS_FILE
            )
        if self._today >= self.limits.orders_per_day:
            return _("当日委托超过{}笔，未发送；如确需更多，请修改{}的orders_per_day").format(
                self.limits.orders_per_day, LIMITS_FILE
            )
        return ""


def _shape(facts: OrderFacts) -> str:
    """Volume and price as such: always refused, no setting changes it."""
    if refusal := unfit(facts.vt_symbol, facts.type, facts.price, facts.volume):
        return refusal
    if facts.lot > 0 and not facts.odd_lot and facts.volume % facts.lot:
        return _("{}：委托数量{}不是每手{}股的整数倍，未发送").format(
            facts.vt_symbol, plain_text(facts.volume), plain_text(facts.lot)
        )
    if facts.type in PRICED and facts.tick > 0 and not on_grid(facts.price, facts.tick):
        return _("{}：委托价{}不在最小变动价位{}上，未发送").format(
            facts.vt_symbol, plain_text(facts.price), plain_text(facts.tick)
        )
    return ""
