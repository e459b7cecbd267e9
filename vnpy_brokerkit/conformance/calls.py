"""Calling what may block, from a thread of its own, and timing it without blaming the gateway for a busy machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .verdict import Failed

T = TypeVar("T")

BEAT = 0.005
"""How often the metronome looks at the clock."""
HUNG = 30.0
"""A machine that stands still for longer than this is not waited for."""


class Metronome:
    """How late this process was woken while something was timed: what the machine took, nobody else did."""

    def __init__(self) -> None:
        self.late = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conformance-metronome", daemon=True)

    def __enter__(self) -> Metronome:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        before = time.monotonic()
        while not self._end.wait(BEAT):
            now = time.monotonic()
            self.late += max(0.0, now - before - 2 * BEAT)
            before = now


class _Call(threading.Thread, Generic[T]):
    """One call on its way; a daemon, since one that never returns must not keep the process."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(name="conformance-call", daemon=True)
        self.done = threading.Event()
        self.answers: list[T] = []
        self.error: Exception | None = None
        self.began = self.ended = 0.0
        self._function = function

    def run(self) -> None:
        self.began = time.monotonic()
        try:
            self.answers.append(self._function())
        except Exception as error:  # noqa: BLE001  carried over to the thread that called, and told there
            self.error = error
        self.ended = time.monotonic()
        self.done.set()


def within(limit: float, what: str, function: Callable[[], T]) -> T:
    """What ``function`` returns, called in a thread of its own.

    Raises :class:`Failed` when it takes more than ``limit`` seconds or raises; a call that blocks goes on in its
    thread.
    """
    call: _Call[T] = _Call(function)
    with Metronome() as metronome:
        call.start()
        waited = time.monotonic()
        while not call.done.wait(max(BEAT, limit - metronome.late)):
            spent = time.monotonic() - waited
            if spent - metronome.late > limit or spent > HUNG + limit:
                raise Failed(f"{what} blocked its caller for more than {limit:g} s")
        taken = call.ended - call.began - metronome.late
    if taken > limit:
        raise Failed(f"{what} blocked its caller for {taken:.2f} s, more than {limit:g} s")
    if isinstance(call.error, Failed):
        raise call.error
    if call.error is not None:
        raise Failed(f"{what} raised {call.error!r}") from call.error
    return call.answers[0]
