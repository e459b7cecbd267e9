"""The simulated TWS: its inside put together, one desk and its rooms behind one port."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from brokersim.half import BadCall, PhoneOrder, World, decimal, switches_of
from brokersim.switches import BadSwitch
from brokersim.tws.accounts import AccountRoom
from brokersim.tws.advisor import AdvisorRoom
from brokersim.tws.contracts import Contracts
from brokersim.tws.depth import DepthRoom
from brokersim.tws.desk import TwsDesk
from brokersim.tws.details import DetailsRoom
from brokersim.tws.faults import FaultPoints
from brokersim.tws.historical_ticks import HistoricalTickRoom
from brokersim.tws.history import HistoryRoom
from brokersim.tws.hub import ADVISOR, OPENING_CASH, Hub, Room
from brokersim.tws.kept import KeptTws
from brokersim.tws.listener import Door
from brokersim.tws.options import OptionRoom
from brokersim.tws.orders import OrderRoom
from brokersim.tws.quotes import QuoteRoom
from brokersim.tws.real_time_bars import RealTimeBarRoom
from brokersim.tws.session import SessionRoom
from brokersim.tws.switches import Switches
from brokersim.tws.tick_by_tick import TickByTickRoom


class TwsHalf:
    """The TWS half of the simulator."""

    name = "tws"

    def __init__(self, world: World) -> None:
        options = world.options
        self.switches = Switches()
        contracts = Contracts(world.market.instruments)
        self.hub = Hub(world, TwsDesk(world), self.switches, contracts)
        self.change_switches(switches_of(options.switches, self.name))
        self.door = Door(self.hub, options.tws_port)
        self.orders = OrderRoom(self.hub)
        self.accounts = AccountRoom(self.hub)
        self._history = HistoryRoom(self.hub)
        depth = DepthRoom(self.hub)
        data = (QuoteRoom(self.hub), depth, TickByTickRoom(self.hub), RealTimeBarRoom(self.hub), self._history)
        rooms: list[Room] = [SessionRoom(), DetailsRoom(), OptionRoom(), HistoricalTickRoom(self.hub), *data]
        rooms += [self.orders, self.accounts, AdvisorRoom()]
        self.faults = FaultPoints(world.faults, self.door, self.orders)
        self.door.furnish(rooms, self.faults)
        self.door.lost_data += [room.lose for room in data]
        self.door.reset_books.append(depth.reset)
        for position in options.positions:
            if position.broker == self.name:
                self._open_position(position.account, position.vt_symbol, position.volume, str(position.price))

    def bind(self) -> None:
        self.door.bind()

    async def open(self) -> None:
        await self.door.open()

    def addresses(self) -> dict[str, str]:
        return {"tws": self.door.address}

    def state(self) -> dict[str, Any]:
        return self.hub.desk.state()

    def wire(self) -> dict[str, int]:
        return {**self.door.received, **self._history.counts}

    def place(self, order: PhoneOrder) -> str:
        return self.orders.place(order)

    def change_switches(self, changes: Mapping[str, object]) -> dict[str, Any]:
        try:
            self.switches.change(changes)
        except BadSwitch as error:
            raise BadCall(str(error)) from error
        self.hub.contracts.hk_smart = self.switches.hk_smart
        self.hub.desk.open_accounts(self.hub.accounts)
        return dataclasses.asdict(self.switches)

    @property
    def changes(self) -> int:
        return self.hub.changes

    def keep(self) -> KeptTws:
        return self.orders.keep()

    def restore(self, kept: bytes, at: datetime) -> None:
        self.orders.restore(msgspec.json.decode(kept, type=KeptTws), at)

    async def turn(self) -> None:
        self.faults.turn()
        self.accounts.turn()
        await self.door.turn()

    def clear_faults(self) -> None:
        self.faults.clear()

    async def settle(self) -> None:
        await self.door.settle()

    async def stop(self) -> None:
        self.faults.stop()
        await self.door.stop()

    def _open_position(self, account: str, vt_symbol: str, volume: int, price: str) -> None:
        instrument = self.hub.market.instruments.get(vt_symbol)
        known = account in self.hub.ledger.cash and account != ADVISOR
        if not known or instrument is None or instrument.currency not in OPENING_CASH:
            raise BadCall(f"positions: broker {self.name!r} has no {vt_symbol!r} in account {account!r}")
        self.hub.ledger.open_position(account, vt_symbol, volume, decimal(price, "price"))
