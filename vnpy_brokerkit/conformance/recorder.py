"""What a gateway pushes, seen twice: in the moment in which it is pushed, and when the engine has handled it.

The first tells which thread pushed it and how it looked then; the second is what waiting goes by, since vn.py's own
tables are up to date by then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

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
from vnpy.trader.gateway import BaseGateway

from .verdict import Failed

T = TypeVar("T")

KINDS = (EVENT_TICK, EVENT_ORDER, EVENT_TRADE, EVENT_POSITION, EVENT_ACCOUNT, EVENT_CONTRACT, EVENT_LOG)
TURN = 0.05
"""Seconds after which a waiting thread looks again even where nothing was pushed: the broker may have moved."""


@dataclass(frozen=True)
class Push:
    """One object in the moment in which the gateway pushed it."""

    kind: str
    data: Any
    was: Any
    """A copy made in that moment, whatever became of the object."""
    text: str
    """Everything that it held in that moment."""
    thread: int
    at: float


def text_of(data: Any) -> str:
    """Everything that a pushed object holds, as text: to see later whether somebody has changed it."""
    return repr(sorted(vars(data).items(), key=lambda item: item[0]))


class Recorder:
    """The pushes of one gateway and the events of its engine, in order. Any thread may wait for one."""

    def __init__(self, engine: EventEngine) -> None:
        self._news = threading.Condition()
        self._events: list[tuple[str, Any]] = []
        self._pushes: list[Push] = []
        for kind in KINDS:
            engine.register(kind, self._take)

    def watch(self, gateway_class: type[BaseGateway]) -> type[BaseGateway]:
        """A subclass of a gateway's class whose pushes are noted here before they go on."""
        recorder = self

        def on_event(gateway: BaseGateway, type: str, data: object = None) -> None:
            if type in KINDS:
                recorder._note(type, data)
            gateway_class.on_event(gateway, type, data)

        names = {"on_event": on_event, "__module__": gateway_class.__module__, "__doc__": gateway_class.__doc__}
        return type(gateway_class.__name__, (gateway_class,), names)

    def _note(self, kind: str, data: Any) -> None:
        push = Push(kind, data, copy(data), text_of(data), threading.get_ident(), time.monotonic())
        with self._news:
            self._pushes.append(push)

    def _take(self, event: Event) -> None:
        with self._news:
            self._events.append((event.type, event.data))
            self._news.notify_all()

    # -- looking

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Everything that the engine has handled so far."""
        with self._news:
            return list(self._events)

    def of(self, kind: str) -> list[Any]:
        """The objects of one kind that the engine has handled so far."""
        return [data for name, data in self.events if name == kind]

    def pushes(self, *kinds: str) -> list[Push]:
        """Everything that was pushed so far, or of these kinds."""
        with self._news:
            return [push for push in self._pushes if not kinds or push.kind in kinds]

    def lines(self, gateway_name: str = "") -> list[str]:
        """The log's lines, or those of one gateway."""
        return [line.msg for line in self.of(EVENT_LOG) if gateway_name in ("", line.gateway_name)]

    # -- waiting

    def wait(self, found: Callable[[], T | None], what: str, deadline: float) -> T:
        """The first true answer of ``found``, asked again at each event. Raises :class:`Failed` after ``deadline``."""
        until = time.monotonic() + deadline
        while True:
            answer = found()
            if answer:
                return answer
            if time.monotonic() >= until:
                raise Failed(f"not within {deadline:g} s: {what}")
            with self._news:
                self._news.wait(TURN)
