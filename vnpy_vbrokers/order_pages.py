"""One list of orders, followed through its pages: quickly at its newest end, once to its oldest.

Rows come newest first and move down while others arrive above them (reference "vbrokers-openapi", sections 7.6 and
11). What has been read is one unbroken stretch that begins at the newest row; :meth:`OrderPages.look` joins what is
new to it, :meth:`OrderPages.read_on` lengthens it at its older end, a page at a time. A cursor that is used later
leads to rows that are known already, never past rows that are not: both may be interrupted and go on where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vnpy_brokerkit.clock import Clock

from .order_lists import FIRST_CURSOR, MOST_PAGES, RESTARTS, Page, Read, Source
from .wire.schema import OrderRow

Take = Callable[[Page[OrderRow], float], None]
"""Takes a page, and the monotonic second at which its orders were surely at the broker: one sent later is none of
them."""


class OrderPages:
    """The orders of one list. ``known``: numbers of an unbroken stretch that was read whole under another name."""

    def __init__(self, source: Source[OrderRow], read: Read, clock: Clock, known: Iterable[str] | None = None) -> None:
        self._source = source
        self._read = read
        self._clock = clock
        self._known = set(known or ())
        self._begun = known is not None
        self.whole = known is not None
        """Whether every row of the list is known: before that, absence from it means nothing."""
        self.given_up = False
        """Whether the list could not be read to its end, and is left alone until :meth:`begin_anew`."""
        self.seen: set[str] = set()
        """The numbers that the last look has seen."""
        self._begun_at = 0.0
        """When the first page of the stretch was read: what is further down was at the broker by then."""
        self._flawed = False
        self._cursor = FIRST_CURSOR
        self._cursors: set[str] = set()
        self._restarts = 0
        self._interrupted = False

    @property
    def behind(self) -> bool:
        """Whether there are older rows to be read on."""
        return not self.whole and not self.given_up

    def __contains__(self, number: object) -> bool:
        return number in self._known

    @property
    def known(self) -> frozenset[str]:
        """The numbers of the stretch that has been read."""
        return frozenset(self._known)

    def begin_anew(self) -> None:
        """Forget what is known of the list: it is read from the start again."""
        self._known.clear()
        self._begun = self.whole = self.given_up = self._flawed = False
        self._restarts = 0

    def interrupt(self) -> None:
        """The Gateway may have forgotten where we were: a cursor that leads nowhere is then no end."""
        self._interrupted = True

    # ------------------------------------------------------------------ the newest rows

    async def look(self, take: Take) -> bool:
        """Read what is new: one page, and on to a page that holds nothing new; return whether nothing was missed.

        The very first look is content with one page. Raises :class:`BrokerError`; what was taken by then is taken.
        """
        for _attempt in range(1 + RESTARTS):
            sound = await self._look(take)
            if sound is not None:
                return sound
        self.given_up = self.given_up or not self._begun
        return False

    async def _look(self, take: Take) -> bool | None:
        """One try of a look; ``None`` where the cursor got stuck."""
        first = not self._begun
        self.seen = set()
        fresh: set[str] = set()
        cursor, cursors = FIRST_CURSOR, {FIRST_CURSOR}
        sound = True
        while len(cursors) <= MOST_PAGES:
            page = await self._source.page(self._read, cursor)
            at = self._clock.monotonic()
            if first:
                self._begun_at = at
            take(page, at)
            numbers = {row.entrust_id for row in page.rows}
            new = numbers - self._known - fresh
            fresh |= new
            self.seen |= numbers
            sound = sound and page.sound
            if page.cursor in cursors:
                return None
            cursors.add(page.cursor)
            cursor = page.cursor
            if not cursor or first or (not new and not numbers.isdisjoint(self._known)):
                break
        else:
            return False
        self._known |= fresh
        if first:
            self._begun = True
            self._cursor, self._cursors = cursor, {FIRST_CURSOR, cursor}
        if not cursor:
            # All of it has been read in one go: whatever was wrong before is over.
            self.whole, self.given_up, self._flawed = sound, not sound, not sound
        elif not sound:
            self.whole, self._flawed = False, True
            self.given_up = not first
        return sound

    # ------------------------------------------------------------------ the older rows

    async def read_on(self, take: Take) -> None:
        """Read one more page of older rows. Raises :class:`BrokerError`; the next call goes on from there."""
        if not self._begun:
            await self.look(take)
            return
        page = await self._source.page(self._read, self._cursor)
        if self._interrupted and not page.rows:
            self._begin_again()
            return
        self._interrupted = False
        take(page, self._begun_at)
        self._known.update(row.entrust_id for row in page.rows)
        self._flawed = self._flawed or not page.sound
        if not page.cursor:
            self.whole, self.given_up = not self._flawed, self._flawed
        elif page.cursor in self._cursors:
            self._begin_again()
        elif len(self._cursors) > MOST_PAGES:
            self.given_up = True
        else:
            self._cursor = page.cursor
            self._cursors.add(page.cursor)

    def _begin_again(self) -> None:
        self._restarts += 1
        self._interrupted = self._begun = False
        self._known.clear()
        self.given_up = self._restarts > RESTARTS
