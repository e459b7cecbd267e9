"""Whether the engine says what the broker knows: orders, trades, and positions, each as often as the broker has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from vnpy.trader.constant import Direction, OrderType, Status

from .stage import Stage
from .venue import Truth
from .verdict import Failed

NOT_AT_BROKER = (Status.SUBMITTING, Status.REJECTED, Status.CANCELLED)
"""What an order that the broker does not have may be: not decided yet, or ended without a fill."""
LASTING = 3
"""Timer events over which the engine must stay in step."""
Row = tuple[object, ...]


def in_step(stage: Stage, *, positions: bool = False) -> None:
    """Wait until the engine says what the broker knows of orders and trades, and of positions where they are asked for.

    Raises :class:`Failed` with the differences.
    """
    last: list[str] = []

    def equal() -> bool:
        truth = stage.venue.truth()
        last[:] = differences(stage, truth) + (position_differences(stage, truth) if positions else [])
        return not last

    def lastingly() -> bool:
        """Equality that does not last is none: what is told twice comes a moment later."""
        if not equal():
            return False
        stage.timers(LASTING)
        return equal()

    try:
        stage.wait(lastingly, "the engine in step with the broker")
    except Failed as error:
        raise Failed("; ".join([str(error), *last])) from None


def differences(stage: Stage, truth: Truth) -> list[str]:
    """What of the orders and trades the engine lacks, and what it has too much."""
    orders = Counter(
        _order(o.vt_symbol, o.direction, o.type, o.price, o.volume, o.traded, o.status) for o in truth.orders
    )
    shown = Counter(
        _order(o.vt_symbol, o.direction, o.type, o.price, o.volume, o.traded, o.status)
        for o in stage.main.get_all_orders()
    )
    surplus = Counter(
        {row: n for row, n in (shown - orders).items() if not (row[-1] in NOT_AT_BROKER and row[-2] == _number(0))}
    )
    # By what was pushed, not by vn.py's table: a trade that is told twice must show.
    trades = Counter(_trade(t.vt_symbol, t.direction, t.price, t.volume) for t in stage.trades())
    real = Counter(_trade(t.vt_symbol, t.direction, t.price, t.volume) for t in truth.trades)
    return [
        *_told("order missing in the engine", orders - shown),
        *_told("order only in the engine", surplus),
        *_told("trade missing in the engine", real - trades),
        *_told("trade told too often", trades - real),
    ]


def position_differences(stage: Stage, truth: Truth) -> list[str]:
    """What of the positions the engine lacks, and what it has too much."""
    held = Counter((p.vt_symbol, _number(p.volume)) for p in stage.main.get_all_positions() if p.volume)
    owned = Counter((vt_symbol, _number(volume)) for vt_symbol, volume in truth.positions.items())
    return [
        *_told("position missing in the engine", owned - held),
        *_told("position only in the engine", held - owned),
    ]


def _told(what: str, rows: Iterable[Row]) -> list[str]:
    return [f"{what}: {' '.join(map(str, row))}" for row in rows]


def _order(
    vt_symbol: str,
    direction: Direction | None,
    type: OrderType,
    price: float,
    volume: float,
    traded: float,
    status: Status,
) -> Row:
    shown_price = Decimal(0) if type is OrderType.MARKET else _number(price)
    return (vt_symbol, _name(direction), type.name, shown_price, _number(volume), _number(traded), status)


def _trade(vt_symbol: str, direction: Direction | None, price: float, volume: float) -> Row:
    return (vt_symbol, _name(direction), _number(price), _number(volume))


def _name(direction: Direction | None) -> str:
    return direction.name if direction else "no direction"


def _number(value: float) -> Decimal:
    """One number, however it is written and whatever binary noise it carries."""
    return round(Decimal(str(value)), 6).normalize()
