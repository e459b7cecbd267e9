"""A client's ticks on their way to the engine: each to its gateway, and never before the contract.

The last tick of a symbol comes as an answer, its contract with the news or, to who has just connected, in the snapshot:
the tick may be first. It waits until the contract is there, or until everything that the server knows has been told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING

from vnpy.trader.object import ContractData, TickData

from .mirror import Mirror

if TYPE_CHECKING:
    from .link import Outlet

MOST_WAITING = 20_000
"""Ticks that wait; of more the oldest are dropped."""


class Quotes:
    """For the stream's thread.

    ``outlet_of`` gives the gateway of a name, or another one where that is not here; ``asked_by`` the name of the one
    through which a vt_symbol was subscribed.
    """

    def __init__(
        self, mirror: Mirror, outlet_of: Callable[[str], Outlet | None], asked_by: Callable[[str], str]
    ) -> None:
        self._mirror = mirror
        self._outlet_of = outlet_of
        self._asked_by = asked_by
        self._known = set(mirror.contracts)
        self._elsewhere: dict[str, ContractData] = {}
        """Contracts of gateways that are not in this process, and that it was not told of."""
        self._waiting: deque[TickData] = deque(maxlen=MOST_WAITING)

    def contract(self, contract: ContractData, *, here: bool) -> None:
        """A contract came; ``here``: the engine has been told it."""
        vt_symbol = contract.vt_symbol
        if not here:
            self._elsewhere[vt_symbol] = contract
        if vt_symbol not in self._known:
            self._known.add(vt_symbol)
            for tick in list(self._waiting):
                if tick.vt_symbol == vt_symbol:
                    self._waiting.remove(tick)
                    self._show(tick)

    def tick(self, tick: TickData) -> None:
        """Show a tick, or keep it until its contract is known."""
        if tick.vt_symbol in self._known:
            self._show(tick)
        else:
            self._waiting.append(tick)

    def all_told(self) -> None:
        """Everything has been told up to now: what has no contract yet has none at the server."""
        while self._waiting:
            tick = self._waiting.popleft()
            self._known.add(tick.vt_symbol)
            self._show(tick)

    def _show(self, tick: TickData) -> None:
        contract = self._elsewhere.pop(tick.vt_symbol, None)
        if contract is not None:
            self._adopt(contract)
        outlet = self._outlet_of(tick.gateway_name)
        if outlet is not None:
            outlet.push(tick)

    def _adopt(self, contract: ContractData) -> None:
        """Subscribed through a gateway that does not own it at the server: in this process that is the one for it."""
        outlet = self._outlet_of(self._asked_by(contract.vt_symbol))
        if outlet is not None:
            mine = copy(contract)
            mine.gateway_name = outlet.gateway_name
            told = self._mirror.take(mine, 0)
            if told is not None:
                outlet.push(told)
