"""The order desk of the simulated TWS: its accounts' ledger, its fees, its permIds and execIds (tws-api 12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from brokersim.fees import TWS_FEES, FeeSchedule
from brokersim.half import World
from brokersim.ledger import Ledger
from brokersim.matching import Desk
from brokersim.model import Fill, Order
from brokersim.tws.advisor import allot
from brokersim.tws.hub import ACCOUNTS, ADVISOR, IRA, OPENING_CASH

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
        self.next_perm_id = FIRST_PERM_ID + (started - IDS_SINCE) * PERM_IDS_A_SECOND % PERM_IDS
        """The permId of the next order."""
        self.next_execution = 1
        """The number of the next execution in its execId."""
        self._started = started
        self._given: str | None = None
        super().__init__(
            world.market,
            Ledger(dict.fromkeys(ACCOUNTS, OPENING_CASH), world.market, holds_reduce_available=False),
            world.clock,
            allow_short=lambda account: account != IRA,
            fees=FeeSchedule(TWS_FEES),
            next_id=self._id,
            fill_id=self._exec_id,
            allot=allot,
        )
        self.listeners: list[Callable[[Order, Fill | None], None]] = []
        """Each hears of every change, in this order."""
        self.on_change = self._tell

    def new_id(self) -> str:
        """A permId that no order has yet."""
        given = self.next_perm_id
        self.next_perm_id += 1
        return str(given)

    def open_accounts(self, accounts: Iterable[str]) -> None:
        """Open those that are not yet open: an advisor's own without money, the others with the opening cash."""
        for account in accounts:
            cash = dict.fromkeys(OPENING_CASH, 0) if account == ADVISOR else OPENING_CASH
            self.ledger.open_account(account, cash)

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

    def _exec_id(self, order: Order, cumulative: int) -> str:
        """An execId of the real form: prefix, the run's second, the execution's number, correction 01."""
        number = self.next_execution
        self.next_execution += 1
        return f"{EXEC_PREFIX}.{self._started:08x}.{number:02x}.01"
