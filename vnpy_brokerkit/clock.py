"""The clock that is handed in: real time by default, a hand-moved one where a day must pass in a millisecond.

No gateway code calls ``datetime.now`` or ``time.monotonic`` by itself, so that a test decides what time it is.
"""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """What the gateways ask of time."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC. It may jump (a laptop that slept, a corrected clock)."""

    def monotonic(self) -> float:
        """Seconds that only grow, for intervals."""

    async def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` have passed on this clock."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ShiftedClock(SystemClock):
    """A wall clock that can be set from any thread and then runs on; intervals stay real.

    Tests use it to live in the simulator's data time: the wall clock says what the exchange's calendar should see,
    while time-outs and polling go on as they are.
    """

    def __init__(self, start: datetime, *, frozen: bool = False) -> None:
        self._lock = threading.Lock()
        self._frozen = frozen
        self._base = start
        self._at = time.monotonic()

    def now(self) -> datetime:
        with self._lock:
            passed = 0.0 if self._frozen else time.monotonic() - self._at
            return (self._base + timedelta(seconds=passed)).astimezone(timezone.utc)

    def set(self, at: datetime) -> None:
        """Jump to ``at`` (aware)."""
        with self._lock:
            self._base, self._at = at, time.monotonic()


LOOK_EVERY = 1.0
"""Seconds between two looks at the wall clock of who waits for a jump."""
LEAST_JUMP = 60.0
"""Seconds by which the wall clock must run ahead to count as a jump: a loaded machine stands still for less."""


async def jump(clock: Clock) -> float:
    """Return when the wall clock has jumped ahead, and by how many seconds: the machine slept, or its clock was set.

    Some systems count sleep in their monotonic time and some do not, so the wall clock alone is looked at. What a
    sleeping machine had open is then dead, and nobody has told it so.
    """
    before = clock.now()
    while True:
        await clock.sleep(LOOK_EVERY)
        now = clock.now()
        ahead = (now - before).total_seconds() - LOOK_EVERY
        if ahead >= LEAST_JUMP:
            return ahead
        before = now


class ManualClock:
    """Virtual time for one event loop: nothing passes until :meth:`advance`, and then it passes at once."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(timezone.utc)
        self._mono = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._mono

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._mono + seconds, done))
        await done

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: sleepers wake in order of their time, and what they start runs before time moves on."""
        end = self._mono + seconds
        while True:
            await _settle()
            due = min((t for t, f in self._sleepers if not f.done()), default=None)
            if due is None or due > end:
                break
            self._move(due - self._mono)
            for when, future in self._sleepers:
                if when <= self._mono and not future.done():
                    future.set_result(None)
            self._sleepers = [(t, f) for t, f in self._sleepers if not f.done()]
        self._move(end - self._mono)

    def _move(self, seconds: float) -> None:
        self._mono += seconds
        self._now += timedelta(seconds=seconds)


async def _settle(turns: int = 20) -> None:
    """Let callbacks that are ready run; bounded, since a task that never waits must not hang virtual time."""
    for _ in range(turns):
        await asyncio.sleep(0)
