"""What is kept of a strategy beside its variables, within its own entry of vn.py's ``cta_strategy_data.json``.

vn.py reads back only the names that a strategy lists as variables, so one more key in the entry disturbs nobody. It
stands in the same entry, and so in the same write, as the position that it belongs to.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from vnpy.trader.constant import Direction, Offset
from vnpy_ctastrategy.base import StopOrder

KEY = "vnpy_brokers"
"""The key of the record in a strategy's entry."""


class KeptStop(msgspec.Struct):
    """A local stop order as a file can hold it: enums by name, since their values are translated."""

    stop_orderid: str
    direction: str
    offset: str
    price: float
    volume: float
    time: datetime
    lock: bool = False
    net: bool = False
    triggered: bool = False
    """Its price was reached and its order was about to be sent: only the broker knows whether it was."""

    @classmethod
    def of(cls, stop: StopOrder, triggered: bool) -> KeptStop:
        """Keep a waiting stop."""
        return cls(
            stop.stop_orderid,
            stop.direction.name,
            stop.offset.name,
            stop.price,
            stop.volume,
            stop.datetime,
            stop.lock,
            stop.net,
            triggered,
        )

    def stop(self, strategy_name: str, vt_symbol: str) -> StopOrder:
        """Return it as vn.py has it. Raises KeyError for a name of no enum."""
        return StopOrder(
            vt_symbol=vt_symbol,
            direction=Direction[self.direction],
            offset=Offset[self.offset],
            price=self.price,
            volume=self.volume,
            stop_orderid=self.stop_orderid,
            strategy_name=strategy_name,
            datetime=self.time,
            lock=self.lock,
            net=self.net,
        )


class Record(msgspec.Struct):
    """Beside a strategy's variables."""

    counted: int
    """The number of the last fill that the saved position includes."""
    since: datetime
    """When the strategy was first met; aware."""
    new: bool
    """It began then, with nothing saved: older orders with its name are another's. Else vn.py alone had kept it."""
    stops: list[KeptStop] = []
    """Local stops that wait, or that waited when the earlier process ended."""


def read_record(entry: dict[str, Any]) -> Record | None:
    """Return the record of a strategy's entry; None where there is none that can be read."""
    try:
        record = msgspec.convert(entry.get(KEY), Record)
    except msgspec.ValidationError:
        return None
    return record if record.since.tzinfo else None


def written(record: Record) -> dict[str, Any]:
    """Return a record as JSON holds it."""
    built: dict[str, Any] = msgspec.to_builtins(record)
    return built
