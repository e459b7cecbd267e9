"""Whether the Gateway stamps minutes and hours with their start or their end: it is documented nowhere (section 6.3).

The bars tell it at the edges of a session: a bar that begins when trading begins is stamped with that time only if
stamps are starts, one that ends when trading ends only if they are ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from typing import NamedTuple

from vnpy_brokerkit.trading_hours import Region


class _Edges(NamedTuple):
    """Times of the exchange that only one kind of stamp can have; hours may be counted from the full one before."""

    starts: frozenset[time]
    ends: frozenset[time]


LUNCH: Mapping[Region, _Edges] = {
    Region.HK: _Edges(frozenset({time(13)}), frozenset({time(12)})),
    Region.CONNECT: _Edges(frozenset({time(13)}), frozenset({time(11, 30)})),
}
"""The pause at noon is sharper than the auctions around the day (section 16.2)."""
REGULAR = _Edges(frozenset({time(9), time(9, 30)}), frozenset({time(16)}))
EXTENDED = _Edges(frozenset({time(4)}), frozenset({time(20)}))
"""US days with pre and post market among their bars (section 16.1)."""


class Stamps:
    """What the answers of one Gateway have told so far. Ends, until they tell otherwise."""

    def __init__(self) -> None:
        self._votes: Counter[bool] = Counter()

    @property
    def are_ends(self) -> bool:
        return self._votes[True] >= self._votes[False]

    def learn(self, region: Region, stamps: Iterable[datetime]) -> None:
        """Look at the stamps of an answer, in the exchange's time; a day with both edges, or none, tells nothing."""
        days: dict[date, set[time]] = {}
        for stamp in stamps:
            days.setdefault(stamp.date(), set()).add(stamp.time())
        for times in days.values():
            edges = LUNCH.get(region) or (EXTENDED if min(times) < time(9) or max(times) > time(16) else REGULAR)
            starts, ends = not edges.starts.isdisjoint(times), not edges.ends.isdisjoint(times)
            if starts != ends:
                self._votes[ends] += 1
