"""Not too often: a rate for requests, and patience for repeated log lines."""

from __future__ import annotations

from .clock import Clock


class Throttle:
    """Lets at most ``rate`` turns a second begin, evenly, in the order in which they were asked for."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._gap = 1 / rate
        self._clock = clock
        self._next = 0.0

    async def turn(self) -> None:
        """Return when it is this caller's turn."""
        now = self._clock.monotonic()
        mine = max(now, self._next)
        self._next = mine + self._gap
        if mine > now:
            await self._clock.sleep(mine - now)


class Patience:
    """Says the same thing once in a while: the first time, then after ``pause`` seconds each."""

    def __init__(self, pause: float, clock: Clock) -> None:
        self._pause = pause
        self._clock = clock
        self._said: dict[str, float] = {}

    def may_say(self, what: str) -> bool:
        """Return whether it is time to say ``what`` (and count it as said)."""
        now = self._clock.monotonic()
        if now - self._said.get(what, -self._pause) < self._pause:
            return False
        self._said[what] = now
        return True

    def forget(self, what: str) -> None:
        """It is over: the next time is a first time again."""
        self._said.pop(what, None)
