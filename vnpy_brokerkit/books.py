"""A gateway's books: its journal, opened for one environment and account, and what an earlier process left in it.

Without a journal that can be written no order is sent; quotes and cancels go on (design, section 4, "Journal").
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import JournalError
from .i18n import _
from .journal import Journal
from .journal_rows import Entry, Step
from .lifecycle import State
from .refusal import Refusal
from .tracker import Fill, TrackedOrder
from .waiting import within

if TYPE_CHECKING:
    from .async_gateway import AsyncGateway

TOLD_UNKNOWN = 5
"""How many orders of unknown outcome are named one by one at the start."""
PRESENT = timedelta(days=1)
"""An order that worked when an earlier process ended is shown at once if it is younger; an older one when the broker
speaks of it: at IBKR nobody says that a day order ended overnight."""


def file_name(gateway_name: str, environment: str) -> str:
    """Return the journal's file name. ``environment`` is one plain word: paper, live, test, embedded."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in gateway_name.lower())
    return f"{plain}_{environment}_orders.db"


class Books:
    """The journal of a gateway as long as it trades in one environment and account. For the loop thread."""

    def __init__(self, gateway: AsyncGateway) -> None:
        self._gateway = gateway
        self.journal: Journal | None = None
        self._problem = ""
        """Why there is no journal, for the refusal of an order."""
        self._leaving: list[Journal] = []
        self.shown_as_foreign: set[str] = set()
        """Local ids of orders that this process took for another's before it could read the journal."""

    async def open(self, folder: Path, environment: str, account: str) -> None:
        """Open the journal, if it is not open already, and track again what an earlier process left.

        A journal that can't be opened is one line; it is tried again at the next connect.
        """
        path = folder / file_name(self._gateway.gateway_name, environment)
        if self.journal and (self.journal.path, self.journal.account) == (path, account):
            return
        self.leave()
        await self._close_left()
        journal = Journal(path, account, clock=self._gateway.clock, log=self._gateway.log)
        midnight = self._gateway.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            entries = await journal.open()
            sent_today = await journal.sent_since(midnight)
        except JournalError as error:
            self._problem = error.text
            self._gateway.log(error.text)
            return
        except BaseException:  # a second connect() ends this one: the file must be free for it
            await journal.close()
            raise
        # From here on nothing waits: a journal that is open has been taken up whole.
        self._problem = ""
        self.journal = journal
        self._gateway.guard.resume(midnight.date(), sent_today)
        now, monotonic = self._gateway.clock.now(), self._gateway.clock.monotonic()
        unknown = []
        for entry in entries:
            order = entry.order
            if self._gateway.tracker.get(order.orderid):
                continue  # this process placed it, before it traded for another account
            met = self._gateway.tracker.find([order.broker_id])
            if met and met.external:
                self.shown_as_foreign.add(order.orderid)
                continue  # this process took it for another's, while another process had the journal: it is shown once
            # As long ago as it was: the time to settle it may be over already.
            order.born = monotonic - max(0.0, (now - order.time).total_seconds())
            # The journal says when it was given, and it may have left later than that.
            order.sent = min(monotonic, order.born + self._gateway.timing.order_max_age)
            self._recount(entry, now)
            self._gateway.tracker.restore(order)
            if order.state is State.UNKNOWN:
                unknown.append(order)
            if order.state is State.UNKNOWN or (entry.step is not Step.ENDED and now - order.time < PRESENT):
                self._gateway.push_order(order)
        self._tell(unknown)

    def _recount(self, entry: Entry, now: datetime) -> None:
        """Fills that the broker's lists do not tell any more were told by an earlier process: they are not missing."""
        order = entry.order
        listed = self._gateway.listed_since(order.exchange, now)
        for fill in entry.fills:
            if fill.time < listed:
                order.fills.append(fill.span)
                order.value += fill.price * (fill.span.high - fill.span.low)

    def _tell(self, unknown: list[TrackedOrder]) -> None:
        for order in unknown[:TOLD_UNKNOWN]:
            self._gateway.log(
                _("上次运行的委托{} {}结果未知：不会重发，将向券商核实").format(order.orderid, order.vt_symbol)
            )
        if len(unknown) > TOLD_UNKNOWN:
            self._gateway.log(_("上次运行另有{}笔委托结果未知，同样处理").format(len(unknown) - TOLD_UNKNOWN))

    def leave(self) -> None:
        """The gateway goes to another environment or account: this journal is closed with the next opening."""
        if self.journal:
            self._leaving.append(self.journal)
        self.journal = None

    async def close(self) -> None:
        """Write what is left and close."""
        self.leave()
        await self._close_left()

    async def _close_left(self) -> None:
        while self._leaving:
            await self._leaving.pop().close()

    async def intend(self, order: TrackedOrder) -> None:
        """Put an order on disk that is about to be sent. Raises :class:`Refusal` in words where that can't be done."""
        if self.journal is None:
            raise Refusal(_("未发送：{}").format(self._problem or _("委托日志未打开")))
        timing = self._gateway.timing
        left = timing.order_max_age - (self._gateway.clock.monotonic() - order.born)
        try:
            await within(max(0.1, left), self.journal.intend(order))
        except JournalError as error:
            raise Refusal(_("未发送：{}").format(error.text)) from None
        except asyncio.TimeoutError:
            raise Refusal(_("等待发送超过{:g}秒，价格可能已过时，未发送").format(timing.order_max_age)) from None

    def follow(self, order: TrackedOrder) -> None:
        """Write down where an order stands."""
        if self.journal:
            self.journal.follow(order)

    def fill(self, order: TrackedOrder, fill: Fill) -> None:
        """Write down a fill."""
        if self.journal:
            self.journal.fill(order, fill)

    def know_foreign(self, broker_id: str) -> None:
        """Write down an order that is none of ours."""
        if self.journal:
            self.journal.know_foreign(broker_id)

    def is_foreign(self, broker_id: str) -> bool:
        """Tell whether an earlier process knew that."""
        return self.journal is not None and broker_id in self.journal.foreign
