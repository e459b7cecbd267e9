"""The order desk of the simulated TWS: its accounts' ledger, its fees, its permIds and execIds (tws-api 12)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from brokersim.fees import TWS_FEES, FeeSchedule
from brokersim.half import World
from brokersim.ledger import Ledger
from brokersim.matching import Desk
from brokersim.model import Fill, Order
from brokersim.tws.hub import ACCOUNTS, IRA, OPENING_CASH

IDS_SINCE = 1_577_836_800
"""2020-01-01: permIds count from there, so that they fit into 31 bits and are not those of an earlier run."""
PERM_IDS_A_SECOND = 8
PERM_IDS = 2_000_000_000
FIRST_PERM_ID = 100_000_000
EXEC_PREFIX = "0000e0d5"
"""What the real execIds of one venue begin with."""


class TwsDesk(Desk):
    """The desk, whose orders' ids are permIds (``/state`` shows them) and whose fills' ids are execIds.

    An order that waited outside the desk is submitted under the permId that it already has: see :meth:`under`.
    """

    def __init__(self, world: World) -> None:
        started = int(world.clock.now().timestamp())
        perm_ids = itertools.count(FIRST_PERM_ID + (started - IDS_SINCE) * PERM_IDS_A_SECOND % PERM_IDS)
        executions = itertools.count(1)
        self._given: str | None = None
        self._perm_ids = perm_ids
        super().__init__(
            world.market,
            Ledger(dict.fromkeys(ACCOUNTS, OPENING_CASH), world.market, holds_reduce_available=False),
            world.clock,
            allow_short=lambda account: account != IRA,
            fees=FeeSchedule(TWS_FEES),
            next_id=self._id,
            fill_id=_exec_ids(started, executions.__next__),
        )
        self.listeners: list[Callable[[Order, Fill | None], None]] = []
        """Each hears of every change, in this order."""
        self.on_change = self._tell

    def new_id(self) -> str:
        """A permId that no order has yet."""
        return str(next(self._perm_ids))

    @contextmanager
    def under(self, perm_id: str) -> Iterator[None]:
        """An order that is submitted herein gets this permId."""
        self._given = perm_id
        try:
            yield
        finally:
            self._given = None

    def _tell(self, order: Order, fill: Fill | None) -> None:
        for listener in self.listeners:
            listener(order, fill)

    def _id(self) -> str:
        given, self._given = self._given, None
        return given or self.new_id()


def _exec_ids(started: int, count: Callable[[], int]) -> Callable[[Order, int], str]:
    """ExecIds of the real form: prefix, the run's second, the execution's number, correction 01."""

    def exec_id(order: Order, cumulative: int) -> str:
        return f"{EXEC_PREFIX}.{started:08x}.{count():02x}.01"

    return exec_id
