"""Not too often: a rate for requests, patience for repeated log lines, rests in long work."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from .clock import Clock

T = TypeVar("T")

SLICE = 20
REST = 0.002
"""Seconds: a loop that runs on without one keeps Python's other threads, a window's among them, from their turn."""


async def in_slices(items: Iterable[T], clock: Clock) -> AsyncIterator[T]:
    """Go through many items, with a short rest after each slice of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % SLICE == 0:
            await clock.sleep(REST)


class Throttle:
    """Lets at most ``rate`` turns a second begin, in the order in which they were asked for.

    They come evenly; with ``at_once`` so many may begin together, and no more within the time which the rate gives
    them: a turn that comes late then costs nothing as long as the others make up for it.
    """

    def __init__(self, rate: float, clock: Clock, *, at_once: int = 1) -> None:
        self._clock = clock
        self._span = at_once / rate
        self._begun: deque[float] = deque(maxlen=at_once)
        self._waiting = asyncio.Lock()

    async def turn(self) -> None:
        """Return when it is this caller's turn."""
        async with self._waiting:
            if len(self._begun) == self._begun.maxlen:
                await self._clock.sleep(self._begun[0] + self._span - self._clock.monotonic())
            self._begun.append(self._clock.monotonic())


class Patience:
    """Says the same thing once in a while: the first time, then after ``pause`` seconds each.

    ``growing``: each pause is twice the one before, until :meth:`forget`. An outage that lasts a night is then told in
    ten lines, not in five hundred; the first of them come a minute apart, as long as somebody may be looking.
    """

    def __init__(self, pause: float, clock: Clock, *, growing: bool = False) -> None:
        self._pause = pause
        self._clock = clock
        self._growth = 2.0 if growing else 1.0
        self._said: dict[str, tuple[float, float]] = {}
        """What was said: when, and how long it then rests."""

    def may_say(self, what: str) -> bool:
        """Return whether it is time to say ``what`` (and count it as said)."""
        now = self._clock.monotonic()
        said, rest = self._said.get(what, (now - self._pause, 0.0))
        if now - said < rest:
            return False
        self._said[what] = now, max(self._pause, rest * self._growth)
        return True

    def forget(self, what: str) -> None:
        """It is over: the next time is a first time again."""
        self._said.pop(what, None)

    def calm(self, what: str) -> None:
        """It is over, and may come again at once: it then rests ``pause`` seconds from when it was last said."""
        if what in self._said:
            self._said[what] = self._said[what][0], self._pause
