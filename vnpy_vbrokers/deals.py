"""The deal list, read as far as certain orders need it.

Deal rows carry no id and no cumulative quantity (reference "vbrokers-openapi", section 7.6): which fill of its order a
row is can be told from sums alone, and a row that shifting pages repeat looks like another fill. So a row that may be
a repetition is marked, and an order's rows count only where they add up to what the order itself says it has filled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from vnpy_brokerkit.tracker import ZERO, Span

from .order_lists import FIRST_CURSOR, MOST_PAGES, RESTARTS, Read, Source
from .wire.schema import DeliverRow

FARTHEST_SHIFT = 300
"""Rows by which a list may move between two of its pages; a second of the busiest account is far less."""

Face = tuple[str, Decimal, Decimal, str, str]


def _face(row: DeliverRow) -> Face:
    """What two appearances of one fill share, and two fills of one second may share."""
    return row.entrust_id, row.business_price, row.business_amount, row.date, row.business_time


@dataclass(frozen=True)
class Need:
    """What is missing of an order: the shares from ``start`` up to ``traded``, which it says it has filled."""

    start: Decimal
    traded: Decimal


@dataclass
class _Tally:
    """The rows of one order, newest first, each with whether it may be a repetition, and their sums."""

    rows: list[tuple[DeliverRow, bool]] = field(default_factory=list)
    certain: Decimal = ZERO
    doubtful: Decimal = ZERO

    def enough(self, need: Need) -> bool:
        if self.doubtful:
            return self.certain >= need.traded
        return self.certain >= need.traded - need.start


class DealsReading:
    """One reading of the fills, newest first, through one list after the other, until ``needs`` are met."""

    def __init__(self, sources: Sequence[Source[DeliverRow]], read: Read, needs: Mapping[str, Need]) -> None:
        self._sources = sources
        self._read = read
        self.needs = dict(needs)
        self._restarts = 0
        self._interrupted = False
        self._begin()

    def interrupt(self) -> None:
        """The Gateway may have forgotten where we were: a cursor that leads nowhere is then no end."""
        self._interrupted = True

    def _begin(self) -> None:
        self._tallies = {number: _Tally() for number in self.needs}
        self._unmet = set(self.needs)
        self._source = 0
        self._cursor, self._cursors = FIRST_CURSOR, {FIRST_CURSOR}
        self._last: list[Face] = []
        """The faces of the last rows read, oldest last."""
        self._other_lists: set[Face] = set()
        self._sound = True
        self.ended = False
        """Whether the lists were read to their end."""

    @property
    def done(self) -> bool:
        """Whether nothing more need be read."""
        return self.ended or not self._unmet

    async def read_page(self) -> set[str]:
        """Read one more page; return the numbers that it brought rows of. Raises :class:`BrokerError`."""
        page = await self._sources[self._source].page(self._read, self._cursor)
        if self._interrupted and self._cursor != FIRST_CURSOR and not page.rows:
            self._interrupted = False
            self._begin()
            return set()
        self._interrupted = False
        self._sound = self._sound and page.sound
        brought = self._take(page.rows)
        if not page.cursor:
            self._source += 1
            self._other_lists.update(self._last_of_list)
            self._cursor, self._cursors, self._last = FIRST_CURSOR, {FIRST_CURSOR}, []
            self.ended = self._source == len(self._sources)
        elif page.cursor in self._cursors or len(self._cursors) > MOST_PAGES:
            self._restarts += 1
            if self._restarts > RESTARTS:
                self.ended, self._sound = True, False
            else:
                self._begin()
        else:
            self._cursor = page.cursor
            self._cursors.add(page.cursor)
        return brought

    @property
    def _last_of_list(self) -> list[Face]:
        return [_face(row) for tally in self._tallies.values() for row, _doubtful in tally.rows]

    def _take(self, rows: Sequence[DeliverRow]) -> set[str]:
        faces = [_face(row) for row in rows]
        repeated = _overlap(self._last, faces)
        brought: set[str] = set()
        for place, row in enumerate(rows):
            tally = self._tallies.get(row.entrust_id)
            if tally is None or row.business_amount <= 0:
                continue
            doubtful = place < repeated or faces[place] in self._other_lists
            tally.rows.append((row, doubtful))
            if doubtful:
                tally.doubtful += row.business_amount
            else:
                tally.certain += row.business_amount
            brought.add(row.entrust_id)
            if tally.enough(self.needs[row.entrust_id]):
                self._unmet.discard(row.entrust_id)
        self._last = [*self._last, *faces][-FARTHEST_SHIFT:]
        return brought

    def falls_short(self, number: str, traded: Decimal) -> bool:
        """Tell whether the rows of an order make up less than it says it has filled."""
        tally = self._tallies[number]
        return tally.certain + tally.doubtful < traded

    def rows_of(self, number: str, need: Need) -> tuple[list[DeliverRow], Decimal] | None:
        """Return the rows of an order, oldest first, and what it had filled before them; ``None`` where it is not sure.

        ``need.traded`` must not be older than the rows: then rows that make it up exactly are all there are.
        """
        tally = self._tallies[number]
        if tally.doubtful:
            kept = _without_repetitions(tally.rows, need.traded)
            return (kept[::-1], ZERO) if kept is not None else None
        rows = [row for row, _doubtful in tally.rows]
        if tally.certain > need.traded:
            return None
        total = ZERO
        for count, row in enumerate(rows, 1):
            total += row.business_amount
            if total == need.traded - need.start:
                return rows[:count][::-1], need.start
        if tally.certain == need.traded or (self.ended and self._sound):
            # All of its rows: they count from its first share, also where a newer fill is in none of the pages.
            return rows[::-1], ZERO
        return None


def _without_repetitions(rows: Sequence[tuple[DeliverRow, bool]], traded: Decimal) -> list[DeliverRow] | None:
    """Leave out as many of the doubtful rows as makes the rest add up: those that were seen first, for a list that
    moves down repeats what stood at the end of the page before."""
    surplus = sum((row.business_amount for row, _doubtful in rows), ZERO) - traded
    kept: list[DeliverRow] = []
    for row, doubtful in rows:
        if doubtful and surplus > 0:
            surplus -= row.business_amount
        else:
            kept.append(row)
    return kept if surplus == 0 else None


def covered(counted: Sequence[Span]) -> Decimal:
    """Return up to which share an order's fills are counted without a gap."""
    at = ZERO
    for span in sorted(counted):
        if span.low > at:
            break
        at = max(at, span.high)
    return at


def _overlap(before: Sequence[Face], page: Sequence[Face]) -> int:
    """Return how many rows at the start of a page may be the last ones of the pages before it, once more."""
    for shift in range(min(len(before), FARTHEST_SHIFT), 0, -1):
        part = before[len(before) - shift :][: len(page)]
        if list(page[: len(part)]) == list(part):
            return len(part)
    return 0
