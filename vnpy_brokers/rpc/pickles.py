"""Reads the pickles of vn.py's own RPC client, and nothing that a pickle could do beside.

``pickle.loads`` calls what the sender names, and its opcodes can ask for any amount of memory; a restricted
``find_class`` leaves the latter, and lets ``BUILD`` change the enums of this process. So the opcodes are read by the
standard library's :mod:`pickletools`, which executes none of them, and the few that plain values and vn.py's requests
need are carried out here, on a stack of our own. Names of classes are looked up in a table of ours and never imported.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OrderType
from vnpy.trader.object import CancelRequest, HistoryRequest, OrderRequest, SubscribeRequest

MOST_OPCODES = 5_000
MOST_DEPTH = 50
REQUESTS: Mapping[tuple[str, str], type] = {
    ("vnpy.trader.object", kind.__name__): kind
    for kind in (SubscribeRequest, OrderRequest, CancelRequest, HistoryRequest)
}
ENUMS: Mapping[tuple[str, str], type[Enum]] = {
    ("vnpy.trader.constant", kind.__name__): kind for kind in (Direction, Exchange, Interval, Offset, OrderType)
}
_MARK = object()


class _Draft:
    """A request whose fields have not come yet."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.values: dict[str, Any] | None = None


class _Name:
    """What a pickle named: only a word, until something is made of it."""

    def __init__(self, module: str, name: str) -> None:
        self.key = (module, name)


def read_pickle(data: bytes) -> Any:
    """The value of a pickle: plain values, vn.py's requests and their enums, times. Raises ValueError for any other.

    A request is made by its own class, of fields that have its types.
    """
    try:
        return _Machine().run(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except (IndexError, TypeError, KeyError, OverflowError, AttributeError, MemoryError) as error:
        raise ValueError(f"no pickle of ours: {error!r}") from None


class _Machine:
    """The stack, the memo and the opcodes."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        for count, (opcode, argument, _place) in enumerate(pickletools.genops(data)):
            if count >= MOST_OPCODES:
                raise ValueError("too many opcodes")
            name = opcode.name
            if name == "STOP":
                (value,) = self._stack
                return _finished(value, 0)
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name]())
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"opcode {name}")
        raise ValueError("no end")

    def _pop_mark(self) -> list[Any]:
        place = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _mark(self, _argument: Any) -> None:
        self._stack.append(_MARK)

    def _memoize(self, _argument: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, place: int) -> None:
        self._memo[int(place)] = self._stack[-1]

    def _get(self, place: int) -> None:
        self._stack.append(self._memo[int(place)])

    def _pop(self, _argument: Any) -> None:
        self._stack.pop()

    def _tuple(self, _argument: Any) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _tuples(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) < count:
            raise IndexError("stack")
        del self._stack[-count:]
        self._stack.append(tuple(items))

    def _append(self, _argument: Any) -> None:
        item = self._stack.pop()
        _of(list, self._stack[-1]).append(item)

    def _appends(self, _argument: Any) -> None:
        items = self._pop_mark()
        _of(list, self._stack[-1]).extend(items)

    def _set_item(self, _argument: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _of(dict, self._stack[-1])[_of(str, key)] = value

    def _set_items(self, _argument: Any) -> None:
        items = self._pop_mark()
        target = _of(dict, self._stack[-1])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_of(str, key)] = value

    def _global(self, argument: str) -> None:
        module, _blank, name = argument.partition(" ")
        self._stack.append(_Name(module, name))

    def _stack_global(self, _argument: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(_Name(_of(str, module), _of(str, name)))

    def _new(self, _argument: Any) -> None:
        arguments, named = self._stack.pop(), self._stack.pop()
        key = _of(_Name, named).key
        if arguments != () or key not in REQUESTS:
            raise ValueError(f"class {key}")
        self._stack.append(_Draft(REQUESTS[key]))

    def _build(self, _argument: Any) -> None:
        state = self._stack.pop()
        draft = _of(_Draft, self._stack[-1])
        if draft.values is not None:
            raise ValueError("built twice")
        draft.values = dict(_of(dict, state))

    def _reduce(self, _argument: Any) -> None:
        arguments, named = self._stack.pop(), self._stack.pop()
        self._stack.append(_made(_of(_Name, named).key, _of(tuple, arguments)))


_VALUES = frozenset(
    {
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES",
        "BINBYTES",
    }
)  # fmt: skip
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "MEMOIZE": _Machine._memoize,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "POP": _Machine._pop,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _argument: machine._tuples(1),
    "TUPLE2": lambda machine, _argument: machine._tuples(2),
    "TUPLE3": lambda machine, _argument: machine._tuples(3),
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "NEWOBJ": _Machine._new,
    "BUILD": _Machine._build,
    "REDUCE": _Machine._reduce,
}


def _of(kind: type[Any], value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} in the place of {kind.__name__}")
    return value


def _made(key: tuple[str, str], arguments: tuple[Any, ...]) -> Any:
    """What a call in a pickle stands for."""
    if key in ENUMS:
        (value,) = arguments
        return ENUMS[key](_of(str, value))
    if key == ("datetime", "datetime"):
        packed, *zone = arguments
        if len(_of(bytes, packed)) != 10 or len(zone) > 1 or not all(isinstance(z, (timezone, ZoneInfo)) for z in zone):
            raise ValueError("no time")
        return datetime.__new__(datetime, packed, *zone)  # the form in which a datetime pickles itself
    if key == ("datetime", "timedelta"):
        days, seconds, microseconds = (_of(int, part) for part in arguments)
        return timedelta(days, seconds, microseconds)
    if key == ("datetime", "timezone"):
        (offset,) = arguments
        return timezone(_of(timedelta, offset))
    if key == ("builtins", "getattr"):
        # How a ZoneInfo names the method that makes it again; only a word here, as every name is.
        owner, method = arguments
        if _of(_Name, owner).key != ("zoneinfo", "ZoneInfo") or method != "_unpickle":
            raise ValueError(f"name {key}")
        return _Name("zoneinfo", "ZoneInfo._unpickle")
    if key == ("zoneinfo", "ZoneInfo._unpickle"):
        name, _from_cache = arguments
        return ZoneInfo(_of(str, name))
    raise ValueError(f"name {key}")


def _finished(value: Any, depth: int) -> Any:
    """The value with its requests made."""
    if depth > MOST_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(value, _Draft):
        return _request(value)
    if isinstance(value, (list, tuple)):
        return [_finished(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _finished(item, depth + 1) for key, item in value.items()}
    if isinstance(value, _Name) or value is _MARK:
        raise ValueError("a name alone")
    return value


def _request(draft: _Draft) -> Any:
    """A request of the fields that came, which must be of its class's types."""
    names = {field.name for field in fields(draft.kind)}
    values = {name: value for name, value in (draft.values or {}).items() if name in names}
    request = draft.kind(**values)
    for name in names:
        _check(name, getattr(request, name))
    return request


_FIELD_TYPES: Mapping[str, tuple[type, ...]] = {
    "symbol": (str,),
    "exchange": (Exchange,),
    "direction": (Direction,),
    "type": (OrderType,),
    "volume": (float, int),
    "price": (float, int),
    "offset": (Offset,),
    "reference": (str,),
    "orderid": (str,),
    "start": (datetime,),
    "end": (datetime, type(None)),
    "interval": (Interval, type(None)),
}


def _check(name: str, value: Any) -> None:
    if type(value) not in _FIELD_TYPES[name]:
        raise ValueError(f"{name} is {type(value).__name__}")
