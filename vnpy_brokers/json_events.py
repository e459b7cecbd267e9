"""vn.py's events as JSON lines: ``{"event": "tick", "gateway": "VBROKERS", ...fields}``.

The fields are those of vn.py's data classes under their own names. Enums go by *name*, since their values are
translated; times are ISO 8601 with an offset; a number that JSON cannot hold (NaN, infinity) is null.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date, datetime
from enum import Enum
from typing import Any

from vnpy.event import Event, EventEngine
from vnpy.trader.event import (
    EVENT_ACCOUNT,
    EVENT_CONTRACT,
    EVENT_LOG,
    EVENT_ORDER,
    EVENT_POSITION,
    EVENT_TICK,
    EVENT_TRADE,
)
from vnpy.trader.object import BaseData

EVENT_NAMES: Mapping[str, str] = {
    EVENT_TICK: "tick",
    EVENT_ORDER: "order",
    EVENT_TRADE: "trade",
    EVENT_POSITION: "position",
    EVENT_ACCOUNT: "account",
    EVENT_CONTRACT: "contract",
    EVENT_LOG: "log",
}

logger = logging.getLogger(__name__)


def event_line(name: str, data: BaseData) -> str:
    """One event as a line of JSON, without the line's end. `data` is an object of vn.py's ``trader.object``."""
    # `extra` is an attribute of the class until somebody sets it; vt_symbol and its like are of the object alone.
    values = {field.name: getattr(data, field.name) for field in fields(data)} | vars(data)
    line: dict[str, Any] = {"event": name, "gateway": values.pop("gateway_name")}
    if name == "log":
        values["level"] = logging.getLevelName(values["level"])
    line.update(values)
    return json.dumps(_plain(line), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """The same value in JSON's own types."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        # vn.py stamps its log data with naive local time.
        return (value if value.tzinfo else value.astimezone()).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key.name if isinstance(key, Enum) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return str(value)


class JsonEvents:
    """Hands every event of an event engine to `write` as one JSON line, on the event thread.

    `write` must return at once (`LineWriter.write` does): whoever blocks here blocks vn.py.
    """

    def __init__(self, event_engine: EventEngine, write: Callable[[str], None]) -> None:
        self._write = write
        for event_type in EVENT_NAMES:
            event_engine.register(event_type, self._on_event)

    def _on_event(self, event: Event) -> None:
        try:
            self._write(event_line(EVENT_NAMES[event.type], event.data))
        except Exception:  # one that leaves a handler would end vn.py's event thread for good
            logger.exception("event %s could not be written as JSON", event.type)
