"""Orders as rows of the journal, and back. Enums are written by *name*: their values are translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

from vnpy.trader.constant import Direction, Exchange, Offset, OrderType

from .lifecycle import State
from .tracker import Span, TrackedOrder, plain_text


class Step(Enum):
    """How far an attempt got, as the disk knows it."""

    REFUSED = "refused"
    """It never left: the guard, the connection or the journal itself was in the way."""
    INTENDED = "intended"
    """Committed before its request went out: after a kill it may have been sent."""
    SENT = "sent"
    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"
    ENDED = "ended"


STATE2STEP: Mapping[State, Step] = {
    State.NEW: Step.INTENDED,
    State.SENDING: Step.SENT,
    State.UNKNOWN: Step.UNKNOWN,
    State.PENDING: Step.ACKNOWLEDGED,
    State.WORKING: Step.ACKNOWLEDGED,
    State.PARTIAL: Step.ACKNOWLEDGED,
    State.FILLED: Step.ENDED,
    State.CANCELLED: Step.ENDED,
    State.REJECTED: Step.ENDED,
}
STEP2STATE: Mapping[Step, State] = {
    Step.INTENDED: State.UNKNOWN,
    Step.SENT: State.UNKNOWN,
    Step.UNKNOWN: State.UNKNOWN,
}
"""What a new process may think of an order that an earlier one left so; the others keep their state."""

ORDER_COLUMNS = (
    "orderid",
    "account",
    "symbol",
    "exchange",
    "direction",
    "offset",
    "type",
    "price",
    "volume",
    "reference",
    "time",
    "step",
    "state",
    "broker_id",
    "traded",
    "reason",
    "cancel_wanted",
    "inferred",
    "decision",
)


@dataclass(frozen=True)
class ToldFill:
    """A fill that an earlier process told vn.py of; ``span`` of its order's volume, price in its currency."""

    span: Span
    price: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class EarlierFill:
    """A fill of an order with a reference that an earlier process told vn.py of.

    ``volume`` in shares, ``price`` in the contract's currency; ``placed`` is when its order was given, both aware.
    """

    orderid: str
    tradeid: str
    symbol: str
    exchange: Exchange
    direction: Direction
    offset: Offset
    reference: str
    volume: Decimal
    price: Decimal
    time: datetime
    placed: datetime


@dataclass(frozen=True)
class Entry:
    """An order of an earlier process, as it stands in the journal, with its fills."""

    order: TrackedOrder
    step: Step
    fills: list[ToldFill] = field(default_factory=list)


@dataclass(frozen=True)
class RunningPosition:
    """What a strategy reference holds by its own fills: shares, negative when short; ``time`` is of the last fill."""

    reference: str
    vt_symbol: str
    volume: Decimal
    time: datetime


def iso(at: datetime) -> str:
    """Write an instant in the one form that sorts by time: UTC, microseconds."""
    return at.astimezone(timezone.utc).isoformat(timespec="microseconds")


def step_of(order: TrackedOrder) -> Step:
    """Return how far an order got."""
    if order.state is State.REJECTED and not order.left:
        return Step.REFUSED
    return STATE2STEP[order.state]


def order_values(order: TrackedOrder, account: str) -> tuple[object, ...]:
    """Return what the journal holds of an order, in the order of the columns, without the guard's decision."""
    return (
        order.orderid,
        account,
        order.symbol,
        order.exchange.name,
        order.direction.name,
        order.offset.name,
        order.type.name,
        _text(order.price),
        _text(order.volume),
        order.reference,
        iso(order.time),
        step_of(order).value,
        order.state.name,
        order.broker_id,
        _text(order.traded),
        order.reason,
        int(order.cancel_wanted),
        int(order.inferred),
    )


def entry_of(row: Sequence[Any]) -> Entry:
    """Read a row. Raises ValueError or KeyError for one that was not written here."""
    (
        orderid,
        _account,
        symbol,
        exchange,
        direction,
        offset,
        type_,
        price,
        volume,
        reference,
        time,
        step_text,
        state,
        broker_id,
        traded,
        reason,
        cancel_wanted,
        inferred,
        _decision,
    ) = row
    step = Step(step_text)
    order = TrackedOrder(
        orderid=orderid,
        symbol=symbol,
        exchange=Exchange[exchange],
        direction=Direction[direction],
        offset=Offset[offset],
        type=OrderType[type_],
        price=Decimal(price),
        volume=Decimal(volume),
        reference=reference,
        time=datetime.fromisoformat(time),
        state=STEP2STATE.get(step) or State[state],
        traded=Decimal(traded),
        broker_id=broker_id,
        reason=reason,
        cancel_wanted=bool(cancel_wanted),
        inferred=bool(inferred),
        left=True,
        shown=False,
    )
    return Entry(order, step)


def told_fill(row: Sequence[str]) -> ToldFill:
    """Read volume, price, cumulative volume and time of a fill. Raises ValueError for what was not written here."""
    volume, price, cumulative = map(Decimal, row[:3])
    return ToldFill(Span(cumulative - volume, cumulative), price, datetime.fromisoformat(row[3]))


EARLIER_COLUMNS = (
    "f.orderid, f.tradeid, o.symbol, o.exchange, o.direction, o.offset, o.reference, f.volume, f.price, f.time, o.time"
)


def earlier_fill(row: Sequence[str]) -> EarlierFill:
    """Read the ``EARLIER_COLUMNS``. Raises ValueError or KeyError for what was not written here."""
    orderid, tradeid, symbol, exchange, direction, offset, reference, volume, price, time, placed = row
    return EarlierFill(
        orderid,
        tradeid,
        symbol,
        Exchange[exchange],
        Direction[direction],
        Offset[offset],
        reference,
        Decimal(volume),
        Decimal(price),
        datetime.fromisoformat(time),
        datetime.fromisoformat(placed),
    )


def clean(value: object) -> object:
    """Make a value one that can be written: a caller's or a broker's text may hold what no file can, half of a
    character."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _text(number: Decimal) -> str:
    return plain_text(number) if number.is_finite() else str(number)
