"""Faults are data: what goes wrong, at which message, how often (design, section 7).

:data:`KINDS` is the whole table. :class:`FaultRegistry` keeps the armed faults; the wires ask it at each message that
they receive or push (:meth:`FaultRegistry.hit`) and at each turn of their loop (:meth:`FaultRegistry.due`).
A fault's ``after_s`` passes by the wall or by the simulator's clock, whichever is first, so that a test may wait or
move the clock; ``for_s`` and ``ms`` are real time, since sockets live in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

Phase = Literal["before", "after"]
PushMode = Literal["duplicate", "reorder", "late", "lose", "before_reply"]
Scope = Literal["now", "any", "request", "list", "mutation", "push", "order_push"]
"""Where a fault without ``when.message`` strikes: at once, or at the next message of that channel."""


class BadFault(ValueError):
    """A fault that the table does not know; the text is one line that says what is wrong."""


@dataclass(frozen=True)
class Kind:
    """One row of the table: which half knows the fault, its parameters, and where it strikes by itself."""

    scope: Scope
    optional: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    brokers: frozenset[str] = frozenset({"vbrokers", "tws"})


_VBROKERS = frozenset({"vbrokers"})
_TWS = frozenset({"tws"})

KINDS: dict[str, Kind] = {
    "refuse": Kind("now", optional=frozenset({"for_s"})),
    "drop": Kind("now"),
    "stall": Kind("now", optional=frozenset({"for_s"})),
    "restart": Kind("now", optional=frozenset({"for_s"})),
    "fill_while_away": Kind("now", optional=frozenset({"order"})),
    "displace": Kind("now", brokers=_VBROKERS),
    "expire": Kind("now", brokers=_VBROKERS),
    "delay": Kind("any", required=frozenset({"ms"})),
    "split": Kind("any"),
    "join": Kind("push"),
    "garbage": Kind("any"),
    "oversize": Kind("any"),
    "http_status": Kind("request", optional=frozenset({"code"}), brokers=_VBROKERS),
    "error": Kind("request", optional=frozenset({"text"}), required=frozenset({"code"})),
    "lose_reply": Kind("mutation"),
    "push": Kind("order_push", optional=frozenset({"ms"}), required=frozenset({"mode"})),
    "stuck_cursor": Kind("list", brokers=_VBROKERS),
    "shift_pages": Kind("list", brokers=_VBROKERS),
    "notice": Kind("now", optional=frozenset({"text", "order"}), required=frozenset({"code"}), brokers=_TWS),
    "daily_reset": Kind("now", optional=frozenset({"for_s"}), brokers=_TWS),
    "hold": Kind("mutation", brokers=_TWS),
}
PARAMETERS = ("for_s", "ms", "code", "text", "mode", "order")

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which message: its name (route, path, payload, ``push``), its count since the fault was armed, and the phase."""

    message: str | None = None
    nth: Annotated[int, msgspec.Meta(ge=1)] = 1
    phase: Phase = "before"
    after_s: _Seconds | None = None


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault as written; ``times`` is how many messages in a row it strikes."""

    broker: Literal["vbrokers", "tws"]
    do: str
    when: When = When()
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    for_s: _Seconds | None = None
    ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] | None = None
    code: int | str | None = None
    text: str | None = None
    mode: PushMode | None = None
    order: str | None = None

    @property
    def scope(self) -> Scope:
        """Where it strikes when no message is named; an order push can only overtake the reply that it belongs to."""
        return "mutation" if self.mode == "before_reply" else KINDS[self.do].scope


def check(fault: Fault) -> None:
    """Raise :class:`BadFault` when the table has no such fault, or not with these parameters."""
    kind = KINDS.get(fault.do)
    if kind is None:
        raise BadFault(f"unknown fault {fault.do!r}: one of {', '.join(KINDS)}")
    if fault.broker not in kind.brokers:
        raise BadFault(f"fault {fault.do!r} is not for broker {fault.broker!r}")
    given = {name for name in PARAMETERS if getattr(fault, name) is not None}
    if missing := kind.required - given:
        raise BadFault(f"fault {fault.do!r} needs {', '.join(sorted(missing))}")
    if extra := given - kind.required - kind.optional:
        raise BadFault(f"fault {fault.do!r} takes no {', '.join(sorted(extra))}")
    if fault.do == "http_status" and not _is_http_status(fault.code):
        raise BadFault("fault 'http_status' takes a code of 400 to 599")


def _is_http_status(code: int | str | None) -> bool:
    return code is None or (str(code).isdecimal() and 400 <= int(code) <= 599)


def parse(data: bytes | str) -> list[Fault]:
    """The faults of a JSON list; :class:`BadFault` in one line when the list or one of them is wrong."""
    try:
        faults = msgspec.json.decode(data, type=list[Fault])
    except msgspec.DecodeError as error:  # ValidationError is one of them
        raise BadFault(f"faults: {error}") from error
    for fault in faults:
        check(fault)
    return faults


@dataclass(eq=False)
class _Armed:
    fault: Fault
    since: datetime
    since_monotonic: float
    left: int
    seen: int = 0

    def ready(self, now: datetime, monotonic: float) -> bool:
        after = self.fault.when.after_s
        return after is None or (now - self.since).total_seconds() >= after or monotonic - self.since_monotonic >= after

    def matches(self, names: Collection[str], channels: Collection[str]) -> bool:
        if self.fault.when.message is not None:
            return self.fault.when.message in names
        return self.fault.scope == "any" or self.fault.scope in channels


class FaultRegistry:
    """The armed faults of all halves; each strikes ``times`` times and is then forgotten."""

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._armed: list[_Armed] = []

    @property
    def armed(self) -> bool:
        """Is any fault armed."""
        return bool(self._armed)

    def add(self, faults: Iterable[Fault]) -> None:
        """Arm the faults from this moment on."""
        now, monotonic = self._now(), self._monotonic()
        self._armed.extend(_Armed(fault, now, monotonic, fault.times) for fault in faults)

    def clear(self) -> None:
        """Forget every armed fault."""
        self._armed.clear()

    def due(self, broker: str) -> list[Fault]:
        """The faults that name no message and whose moment has come; each is told once, whatever ``times`` says."""
        due = [
            armed for armed in self._ready(broker) if armed.fault.when.message is None and armed.fault.scope == "now"
        ]
        self._armed = [armed for armed in self._armed if armed not in due]
        return [armed.fault for armed in due]

    def hit(self, broker: str, names: Collection[str], channels: Collection[str]) -> list[Fault]:
        """Count one message (by all its names and channels) and tell the faults, of both phases, that strike at it."""
        struck = []
        for armed in self._ready(broker):
            if armed.matches(names, channels):
                armed.seen += 1
                if armed.seen >= armed.fault.when.nth:
                    armed.left -= 1
                    struck.append(armed.fault)
        if struck:
            self._armed = [armed for armed in self._armed if armed.left > 0]
        return struck

    def _ready(self, broker: str) -> list[_Armed]:
        if not self._armed:
            return []
        now, monotonic = self._now(), self._monotonic()
        return [armed for armed in self._armed if armed.fault.broker == broker and armed.ready(now, monotonic)]
