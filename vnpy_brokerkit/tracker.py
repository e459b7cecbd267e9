"""Which order is which, what it has filled, and what vn.py may be told of it.

The tracker holds every order of one gateway: ours by local id, all by the broker's ids (several names of one order are
aliases). Reports of the broker go in, in any order, repeated or late; what is *new* in them comes out. Nothing does
I/O, and nothing here knows a broker: plugins translate their words into :class:`OrderReport` and :class:`FillReport`.

Fills count once (design, section 4): a fill covers the stretch ``(cumulative - volume, cumulative]`` of its order's
volume, and a share that is covered is never counted again, whichever channel repeats it under whatever id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType
from vnpy.trader.object import OrderData, OrderRequest, TradeData

from .lifecycle import NAMELESS, STATE2VT, TERMINAL, Happening, State, move

ZERO = Decimal(0)


@dataclass(frozen=True)
class OrderReport:
    """What the broker says of one order at one moment. ``traded`` is cumulative shares; ``time`` aware or unknown."""

    broker_id: str
    symbol: str
    exchange: Exchange
    direction: Direction
    type: OrderType
    price: Decimal
    volume: Decimal
    happening: Happening
    traded: Decimal = ZERO
    time: datetime | None = None
    reason: str = ""
    aliases: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FillReport:
    """One execution: ``volume`` shares at ``price``, the order's filled volume being ``cumulative`` after it.

    ``tradeid`` is the broker's own id of it, where it has one that is the same in push and list.
    """

    volume: Decimal
    price: Decimal
    cumulative: Decimal
    time: datetime
    extra: dict[str, str] = field(default_factory=dict)
    tradeid: str = ""


class Span(NamedTuple):
    """The stretch ``(low, high]`` of an order's filled volume, in shares."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill that was counted. ``tradeid`` is the same after a restart and from push or list."""

    tradeid: str
    volume: Decimal
    price: Decimal
    low: Decimal
    high: Decimal
    time: datetime
    extra: dict[str, str]


@dataclass(slots=True)
class TrackedOrder:
    """One order as it is known here. Prices in the contract's currency, volumes in shares."""

    orderid: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    type: OrderType
    price: Decimal
    volume: Decimal
    reference: str
    time: datetime
    """When it was given to us, or when the broker says it was placed; aware."""
    external: bool = False
    state: State = State.NEW
    traded: Decimal = ZERO
    """The broker's cumulative word or the counted fills, whichever is more; it only grows."""
    broker_id: str = ""
    reason: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    fills: list[Span] = field(default_factory=list)
    """What of the volume the counted fills cover; the fills themselves went to vn.py."""
    value: Decimal = ZERO
    """The sum of price x volume of the counted fills."""
    born: float = 0.0
    """Monotonic second at which it was given to us."""
    sent: float = 0.0
    """Monotonic second at which its request left."""
    cancel_wanted: bool = False
    inferred: bool = False
    """REJECTED because it was absent from the lists, not because somebody said so."""
    left: bool = False
    """Its request may have left this machine, now or in an earlier process."""
    shown: bool = True
    """Whether vn.py has been told of it; an order of an earlier process is not, before somebody speaks of it."""

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange.value}"

    @property
    def active(self) -> bool:
        return self.state not in TERMINAL

    @property
    def nameless(self) -> bool:
        return self.state in NAMELESS and not self.broker_id

    @property
    def counted(self) -> Decimal:
        """Shares in the fills that were counted; less than ``traded`` while a fill is still missing."""
        return sum((span.high - span.low for span in self.fills), ZERO)


class OrderTracker:
    """All orders of one gateway; to be used from its loop thread only."""

    def __init__(self, gateway_name: str) -> None:
        self.gateway_name = gateway_name
        self._orders: dict[str, TrackedOrder] = {}
        self._by_broker_id: dict[str, TrackedOrder] = {}

    # -- finding

    def __iter__(self) -> Iterator[TrackedOrder]:
        return iter(list(self._orders.values()))

    def get(self, orderid: str) -> TrackedOrder | None:
        """Return the order with this local id."""
        return self._orders.get(orderid)

    def find(self, ids: Iterable[str]) -> TrackedOrder | None:
        """Return the order that has one of these broker ids, the first that is known."""
        for broker_id in ids:
            order = self._by_broker_id.get(broker_id) if broker_id else None
            if order:
                return order
        return None

    def active(self) -> list[TrackedOrder]:
        """Return the orders that are not terminal, oldest first."""
        return [order for order in self._orders.values() if order.active]

    def unknown(self) -> list[TrackedOrder]:
        """Return the orders whose outcome is not known, oldest sent first."""
        return sorted((o for o in self._orders.values() if o.state is State.UNKNOWN), key=lambda o: (o.sent, o.born))

    def nameless(self) -> list[TrackedOrder]:
        """Return the orders that may be at the broker under a number that is not known here."""
        return [o for o in self._orders.values() if o.nameless and o.state is not State.NEW]

    # -- changing

    def restore(self, order: TrackedOrder) -> None:
        """Track again an order that an earlier process left, under its own id and the broker's."""
        self._orders[order.orderid] = order
        self.bind(order, order.broker_id)

    def forget(self, order: TrackedOrder) -> None:
        """Track an order no longer: one of an earlier process, of which nobody speaks any more."""
        self._orders.pop(order.orderid, None)
        self._by_broker_id = {name: other for name, other in self._by_broker_id.items() if other is not order}

    def take(self, orderid: str, request: OrderRequest, time: datetime, born: float) -> TrackedOrder:
        """Begin to track an order of our own, as it was given to us (its symbol may still be another spelling)."""
        order = TrackedOrder(
            orderid=orderid,
            symbol=request.symbol,
            exchange=request.exchange,
            direction=request.direction,
            offset=request.offset,
            type=request.type,
            price=exact(request.price),
            volume=exact(request.volume),
            reference=request.reference,
            time=time,
            born=born,
        )
        self._orders[orderid] = order
        return order

    def adopt(self, orderid: str, report: OrderReport, now: datetime) -> TrackedOrder:
        """Begin to track an order that was placed elsewhere."""
        order = TrackedOrder(
            orderid=orderid,
            symbol=report.symbol,
            exchange=report.exchange,
            direction=report.direction,
            offset=Offset.NONE,
            type=report.type,
            price=report.price,
            volume=report.volume,
            reference="",
            time=report.time or now,
            external=True,
            state=State.PENDING,
            left=True,
        )
        self._orders[orderid] = order
        self.bind(order, report.broker_id)
        return order

    def bind(self, order: TrackedOrder, *broker_ids: str) -> None:
        """Give an order its broker ids; the first one becomes the number that it is cancelled and counted under."""
        for broker_id in filter(None, broker_ids):
            order.broker_id = order.broker_id or broker_id
            self._by_broker_id.setdefault(broker_id, order)

    def alias(self, order: TrackedOrder, name: str) -> None:
        """Give an order another name to be found by, which is not the number that its fills are counted under."""
        self._by_broker_id.setdefault(name, order)

    def release(self, broker_id: str) -> None:
        """Take a broker id away from its order: the broker has given the number to another one."""
        self._by_broker_id.pop(broker_id, None)

    def happen(self, order: TrackedOrder, happening: Happening, reason: str = "") -> bool:
        """Move an order along the lifecycle; return whether anything that vn.py sees changed."""
        before = (STATE2VT[order.state], order.reason)
        after = move(order.state, happening)
        if reason and (after is not order.state or not order.reason):
            order.reason = reason
        order.state = after
        order.left = order.left or happening is Happening.SENT
        return before != (STATE2VT[order.state], order.reason)

    def report(self, order: TrackedOrder, report: OrderReport) -> bool:
        """Apply what the broker says of an order; return whether anything that vn.py sees changed."""
        self.bind(order, report.broker_id, *report.aliases)
        before = (order.traded, order.price, order.volume)
        first = not order.shown
        if order.active and report.volume > 0:
            # The broker's word on price and size wins: the order may have been changed elsewhere.
            order.volume = report.volume
            if report.price > 0 and order.type is not OrderType.MARKET:
                order.price = report.price
        order.traded = max(order.traded, report.traded)
        order.extra.update(report.extra)
        changed = self.happen(order, report.happening, report.reason)
        changed = self._follow_volume(order) or changed
        return first or changed or before != (order.traded, order.price, order.volume)

    def fill(self, order: TrackedOrder, report: FillReport) -> list[Fill]:
        """Count a fill; return what of it was new: nothing for a repetition, once what it adds otherwise."""
        low, high = report.cumulative - report.volume, report.cumulative
        new: list[Fill] = []
        for start, end in _uncovered(low, high, order.fills):
            fill = Fill(
                tradeid=report.tradeid if report.tradeid and not new else f"{order.broker_id}-{plain_text(end)}",
                volume=end - start,
                price=report.price,
                low=start,
                high=end,
                time=report.time,
                extra=dict(report.extra),
            )
            order.fills.append(Span(start, end))
            order.value += report.price * (end - start)
            new.append(fill)
        order.traded = max(order.traded, order.counted)
        self._follow_volume(order)
        return new

    def _follow_volume(self, order: TrackedOrder) -> bool:
        """The state can't say less than the filled volume does."""
        if order.traded <= 0:
            return False
        return self.happen(order, Happening.FILLED if order.traded >= order.volume else Happening.PART_FILLED)

    # -- for vn.py

    def order_data(self, order: TrackedOrder) -> OrderData:
        """Return a fresh OrderData: plain floats, aware time, picklable extra."""
        extra: dict[str, str | bool] = {**order.extra, "broker_id": order.broker_id, "external": order.external}
        if order.reason:
            extra["reason"] = order.reason
        if order.state is State.UNKNOWN:
            extra["unknown"] = True
        data = OrderData(
            gateway_name=self.gateway_name,
            symbol=order.symbol,
            exchange=order.exchange,
            orderid=order.orderid,
            type=order.type,
            direction=order.direction,
            offset=order.offset,
            price=plain(order.price),
            volume=plain(order.volume),
            traded=plain(order.traded),
            status=STATE2VT[order.state],
            datetime=order.time,
            reference=order.reference,
        )
        data.extra = extra
        return data

    def trade_data(self, order: TrackedOrder, fill: Fill) -> TradeData:
        """Return a fresh TradeData of one counted fill."""
        data = TradeData(
            gateway_name=self.gateway_name,
            symbol=order.symbol,
            exchange=order.exchange,
            orderid=order.orderid,
            tradeid=fill.tradeid,
            direction=order.direction,
            offset=order.offset,
            price=float(fill.price),
            volume=float(fill.volume),
            datetime=fill.time,
        )
        data.extra = {**fill.extra, "broker_id": order.broker_id}
        return data


def exact(number: object) -> Decimal:
    """Return the decimal that a caller's float means; NaN for what is no number, which the guard then refuses.

    Twelve digits say any price and quantity. What a float shows beyond them is the noise of sums such as 184.3 + 3 x
    0.01, not a price off the tick grid.
    """
    try:
        return Decimal(f"{number:.12g}" if isinstance(number, float) else str(number))
    except InvalidOperation:
        return Decimal("NaN")


def plain(number: Decimal) -> float:
    """Return what vn.py may see of a number: a caller's NaN or infinity is shown as 0, with the refusal beside it."""
    return float(number) if number.is_finite() else 0.0


def _uncovered(low: Decimal, high: Decimal, fills: list[Span]) -> list[tuple[Decimal, Decimal]]:
    """Return the stretches of ``(low, high]`` that no fill covers yet, in order."""
    gaps: list[tuple[Decimal, Decimal]] = []
    at = max(low, ZERO)
    for fill in sorted(fills):
        if fill.high <= at:
            continue
        if fill.low >= high:
            break
        if fill.low > at:
            gaps.append((at, fill.low))
        at = fill.high
    if at < high:
        gaps.append((at, high))
    return gaps


def plain_text(number: Decimal) -> str:
    """Write a price or quantity without exponent or trailing zeros, as wires and ids want it: 100, 0.5."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
