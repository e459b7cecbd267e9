"""News of orders and fills in the order in which TWS told it, each after the instrument that it is about is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ib_async.contract import Contract

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _

from .contracts import Contracts

NOWHERE = Contract()
"""For news that names no instrument."""


class Outlet(Protocol):
    """What it needs of the gateway."""

    def log(self, text: str) -> None: ...
    def spawn(self, work: Any, name: str) -> Any: ...


class Turns:
    """A queue of news: a row tells neither exchange nor month, so its instrument may have to be looked up first.

    ``on_loss`` is called when a piece of news could not be taken: the lists should be read.
    """

    def __init__(self, outlet: Outlet, contracts: Contracts, clock: Clock, on_loss: Callable[[], None]) -> None:
        self._outlet = outlet
        self._contracts = contracts
        self._clock = clock
        self._on_loss = on_loss
        self._waiting: list[tuple[Contract, Callable[[], None]]] = []

    def take(self, contract: Contract, news: Callable[[], None]) -> None:
        """Take news now, or after the instruments that earlier news brought have been looked up."""
        if not self._waiting and (not contract.conId or self._contracts.by_con_id(contract.conId)):
            news()
            return
        self._waiting.append((contract, news))
        if len(self._waiting) == 1:
            self._outlet.spawn(self._work_off(), "identify")

    async def caught_up(self) -> None:
        """Return when no news waits any more."""
        while self._waiting:
            await self._clock.sleep(0.01)

    async def _work_off(self) -> None:
        while self._waiting:
            try:
                await self._contracts.identify([contract for contract, _news in self._waiting if contract.conId])
            except BrokerError as error:
                self._outlet.log(_("无法查询委托或成交的合约（{}），按原始代码显示").format(error.text))
            ready, self._waiting = self._waiting, []
            for _contract, news in ready:
                try:
                    news()
                except Exception as error:  # noqa: BLE001  one bad row must not cost the news behind it
                    self._outlet.log(_("内部错误：{!r}；请将日志反馈给开发者").format(error))
                    self._on_loss()
