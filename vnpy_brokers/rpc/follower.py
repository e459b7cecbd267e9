"""How a client stays whole: the numbers of the news, and a snapshot where one is missing. No I/O.

Nothing is taken from the stream before a beacon has come: then everything that follows comes too, and a snapshot that
is asked for now is at least as new. News that arrives before the snapshot waits; what the snapshot holds already is
left out. A gap, a beacon that is ahead of the news before it, another epoch: once more from the snapshot on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from vnpy.trader.object import BaseData

from .messages import Beacon

PATIENCE_S = 5.0
"""A snapshot of which nothing comes for so long is asked for again."""
MOST_WAITING = 200_000


class Follower:
    """Follows one server. ``ask`` asks for a snapshot; ``apply`` takes each object, in order, with its epoch."""

    def __init__(
        self,
        ask: Callable[[], None],
        apply: Callable[[BaseData, int], None],
        on_whole: Callable[[], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._ask = ask
        self._apply = apply
        self._on_whole = on_whole
        self._clock = clock
        self.epoch = 0
        self.number = 0
        """Of the last news that was applied."""
        self.whole = False
        self._asked: float | None = None
        self._waiting: list[tuple[int, int, BaseData]] = []

    def beacon(self, beacon: Beacon) -> bool:
        """Take a beacon; return whether everything up to it has been applied."""
        if not self.whole or beacon.epoch != self.epoch or beacon.number > self.number:
            self.renew()
        # One that was sent before the snapshot may come after it.
        return self.whole and beacon.number == self.number

    def renew(self) -> None:
        """Everything anew from a snapshot, unless one is on its way."""
        self.whole = False
        now = self._clock()
        if self._asked is None or now - self._asked > PATIENCE_S:
            self._asked = now
            self._ask()

    def progress(self) -> None:
        """A part of the snapshot came."""
        if self._asked is not None:
            self._asked = self._clock()

    def failed(self) -> None:
        """The snapshot will not come: the next beacon asks again."""
        self._asked = None

    def news(self, epoch: int, number: int, data: BaseData) -> None:
        """Take a piece of news."""
        if self.whole and epoch == self.epoch:
            if number == self.number + 1:
                self.number = number
                self._apply(data, epoch)
                return
            if number <= self.number:
                return
        self._waiting.append((epoch, number, data))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
        if self.whole:
            self.renew()

    def snapshot(self, epoch: int, number: int, rows: Iterable[BaseData]) -> None:
        """Take a whole snapshot as of news ``number``, and then the news that waited."""
        self._asked = None
        self.epoch, self.number = epoch, number
        for data in rows:
            self._apply(data, epoch)
        self.whole = True
        waiting, self._waiting = self._waiting, []
        for its_epoch, its_number, data in waiting:
            if its_epoch == epoch:
                self.news(its_epoch, its_number, data)
        if self.whole:
            self._on_whole()
