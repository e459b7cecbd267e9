"""The simulator's clock: the machine's time (wall) or the data's own time, which stands still until it is moved (data).

Everything in brokersim that needs the time asks this clock, so that a test moves a trading day in a second (design 7,
"Market").
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Literal

Mode = Literal["wall", "data"]


class SimClock:
    """A clock in aware UTC.

    ``wall``: the machine's time, shifted by what :meth:`set` and :meth:`advance` add. ``data``: stands at ``start``
    until it is moved; without ``start`` the market sets it to the earliest live day's regular open.

    ``speed`` is how many seconds of data one second of wall time plays (wall only). While ``paused`` is true quotes
    stand still in both modes; orders are still accepted and still match against the standing quote.
    """

    def __init__(
        self,
        mode: Mode = "wall",
        start: datetime | None = None,
        speed: float = 1.0,
        *,
        system_time: Callable[[], float] = time.time,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self.mode: Mode = mode
        self.speed = speed
        self._system_time = system_time
        self._offset = timedelta(0)
        self._at = datetime(1970, 1, 1, tzinfo=timezone.utc)
        self._pause_began: datetime | None = None
        self._paused_for = timedelta(0)
        self.started = start is not None or mode == "wall"
        """False for a data clock that nobody has set yet."""
        if start is not None:
            self.set(start)

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        if self.mode == "data":
            return self._at
        return datetime.fromtimestamp(self._system_time(), timezone.utc) + self._offset

    def set(self, at: datetime) -> None:
        """Jump to ``at`` (aware; forward or back). Raises ValueError for a naive datetime."""
        if at.tzinfo is None:
            raise ValueError("the clock takes aware datetimes only: give an offset, such as +00:00")
        at = at.astimezone(timezone.utc)
        if self.mode == "data":
            self._at = at
        else:
            self._offset += at - self.now()
        self.started = True

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds`` (back when negative)."""
        step = timedelta(seconds=seconds)
        if self.mode == "data":
            self._at += step
        else:
            self._offset += step

    @property
    def paused(self) -> bool:
        return self._pause_began is not None

    @paused.setter
    def paused(self, value: bool) -> None:
        if value and self._pause_began is None:
            self._pause_began = self.now()
        elif not value and self._pause_began is not None:
            self._paused_for += self.now() - self._pause_began
            self._pause_began = None

    @property
    def paused_for(self) -> timedelta:
        """How long the clock has been paused in all, the present pause left out."""
        return self._paused_for

    def unpaused(self) -> datetime:
        """The present instant less all time spent paused: what a wall replay runs by, so a pause loses no quote."""
        at = self.now() if self._pause_began is None else self._pause_began
        return at - self._paused_for
