"""What vn.py's own apps cannot bear in what a gateway pushes: vnpy-engine reference, section 0."""

from __future__ import annotations

import math
import pickle
from datetime import datetime
from decimal import Decimal
from typing import Any

from vnpy.trader.object import ContractData, PositionData

MAY_BE_NONE = frozenset({"extra", "localtime", "reference", "interval"})
NEVER_NEGATIVE = frozenset({"price", "volume", "last_volume", "turnover", "pre_close", "frozen", "traded"})
"""Beside every field whose name speaks of a price or a size; a position's volume may be short."""
PLAIN = (str, int, float, bool, type(None))


def odd_values(data: Any) -> list[str]:
    """What is odd about the fields of a pushed object.

    Numbers are int or float and finite, -1 means no "unset", times are aware, ``extra`` holds plain values.
    """
    wrong = []
    for name, value in vars(data).items():
        name_forbids, short = _never_negative(name), isinstance(data, PositionData)
        may_lack = name in MAY_BE_NONE or isinstance(data, ContractData)
        if value is None:
            wrong += [] if may_lack else [f"{name} is None"]
        elif isinstance(value, Decimal):
            wrong.append(f"{name} is a Decimal")
        elif isinstance(value, datetime):
            # A contract's expiry is a day; vn.py's own gateways leave it without a zone.
            wrong += [] if value.tzinfo or isinstance(data, ContractData) else [f"{name} {value} knows no time zone"]
        elif isinstance(value, (int, float)) and (_beyond(value) or (value < 0 and name_forbids and not short)):
            wrong.append(f"{name} is {value}")
    return wrong + odd_extra(data.extra)


def odd_extra(extra: Any, where: str = "extra") -> list[str]:
    """What in ``extra`` is more than plain values in lists and dictionaries."""
    if isinstance(extra, dict):
        named = [f"a key of {where} is {key!r}" for key in extra if not isinstance(key, str)]
        return named + [odd for key, value in extra.items() for odd in odd_extra(value, f"{where}[{key!r}]")]
    if isinstance(extra, (list, tuple)):
        return [odd for value in extra for odd in odd_extra(value, where)]
    return [] if type(extra) in PLAIN else [f"{where} holds a {type(extra).__name__}"]


def unpicklable(data: Any) -> str:
    """Why an object does not come through RPC as it was; ``""`` when it does."""
    try:
        copy = pickle.loads(pickle.dumps(data))
    except Exception as error:  # noqa: BLE001  whatever it raises would end the event thread under RpcService
        return f"{type(data).__name__} does not pickle: {error!r}"
    return "" if vars(copy) == vars(data) else f"{type(data).__name__} is not the same after pickling"


def _beyond(value: float) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _never_negative(name: str) -> bool:
    return name in NEVER_NEGATIVE or name.endswith("_price") or "_price_" in name or "_volume_" in name
