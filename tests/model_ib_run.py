"""Runs a script of :mod:`tests.model_ib_script` on the real rooms and the model TWS, and judges the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from ib_async.contract import Contract
from vnpy.trader.constant import Direction, OrderType, Status

from tests import model_ib_script as script_of
from tests import model_script as common
from tests.model_ib_engine import (
    LINK_BACK_KEPT,
    LINK_BACK_LOST,
    LINK_LOST,
    STOCKS,
    IbEngine,
)
from tests.model_ib_script import Script, Step
from tests.model_loop import VirtualLoop
from tests.model_run import Play, run_play
from tests.model_tws import ACCOUNT, OTHER_ACCOUNT, Ticket, Tws
from vnpy_brokerkit.lifecycle import STATE2VT, State
from vnpy_brokerkit.tracker import TrackedOrder

KINDS = (OrderType.LIMIT, OrderType.MARKET, OrderType.STOP)
WIRE2KIND = {"LMT": OrderType.LIMIT, "MKT": OrderType.MARKET, "STP": OrderType.STOP}
ENDED2VT = {"Filled": Status.ALLTRADED, "Cancelled": Status.CANCELLED, "Inactive": Status.REJECTED}


def run(script: Script, engine_class: type[IbEngine] = IbEngine) -> None:
    """Run a script. Raises :class:`Failed` that names what does not hold at its end."""
    run_play(script.disk_s, lambda loop, folder: IbPlay(loop, script, folder, engine_class))


class IbPlay(Play[IbEngine, Step]):
    """One script on its way."""

    def __init__(self, loop: VirtualLoop, script: Script, folder: Path, engine_class: type[IbEngine]) -> None:
        super().__init__(loop, script.steps, folder)
        self._engine_class = engine_class
        self.tws = Tws(loop, self.clock, script)
        self._sizes = itertools.count(1)
        self.engine = self._new_engine(self._first_folder())

    def _new_engine(self, folder: Path) -> IbEngine:
        return self._engine_class(self._loop, self.clock, self.tws, folder)

    async def _end_life(self, spare: set[asyncio.Task[Any]], folder: Path, *, written: bool) -> None:
        await self.engine.kill(spare, folder, written=written)

    # ------------------------------------------------------------------ steps

    async def _act(self, step: Step) -> None:
        tws, engine = self.tws, self.engine
        tracker = engine.outlet.tracker
        if isinstance(step, script_of.Send):
            self._send(step)
        elif isinstance(step, script_of.Foreign):
            account = ACCOUNT if step.ours else OTHER_ACCOUNT
            tws.foreign(self._contract(step.stock), step.client, account, self._size(), step.filled)
        elif isinstance(step, script_of.Copy):
            mine = [ticket for ticket in tws.tickets if ticket.local and not ticket.held]
            if mine:
                ticket = mine[step.place % len(mine)]
                tws.foreign(ticket.contract, 0, ACCOUNT, self._size(), step.filled, ticket.ref)
        elif isinstance(step, common.Fill | script_of.Correct | script_of.Turn):
            self._at_tws(step)
        elif isinstance(step, script_of.Cancel):
            working = tracker.active()
            if working:
                order = working[step.place % len(working)]
                self._wanted_cancels.add(order.orderid)
                engine.cancel(order.orderid)
        elif isinstance(step, script_of.CancelAll):
            self._wanted_cancels |= {order.orderid for order in tracker.active() if not order.external}
            engine.cancel_all()
        elif isinstance(step, script_of.News):
            tws.news_modes.extend([step.mode] * step.count)
        elif isinstance(step, script_of.Answers):
            tws.answer_modes.extend([step.mode] * step.count)
        elif isinstance(step, script_of.Cut):
            self._cut(step)
        elif isinstance(step, script_of.Stale):
            self._lose_link(step)
        elif isinstance(step, common.Kill):
            await self._kill(step)
        elif isinstance(step, common.Renew):
            await engine.renew()
        else:
            await asyncio.sleep(step.seconds)

    @staticmethod
    def _contract(stock: int) -> Contract:
        return Contract(conId=stock + 1, symbol=STOCKS[stock])

    def _size(self) -> int:
        return 8 * next(self._sizes)

    def _send(self, step: script_of.Send) -> None:
        direction = Direction.LONG if step.buy else Direction.SHORT
        order = self.engine.take(step.stock, direction, KINDS[step.kind], self._size())
        self.tws.fates[order.orderid] = step.fate
        self.tws.arrivals[order.orderid] = step.filled
        self.engine.quotes[order.orderid] = step.quote_s
        self.engine.place(order)

    def _at_tws(self, step: common.Fill | script_of.Correct | script_of.Turn) -> None:
        tws = self.tws
        if isinstance(step, script_of.Correct):
            filled = [ticket for ticket in tws.tickets if ticket.deals]
            if filled:
                tws.correct(filled[step.place % len(filled)])
            return
        if isinstance(step, script_of.Turn) and step.what != "cancel":
            held = [ticket for ticket in tws.tickets if ticket.held]
            if held:
                ticket = held[step.place % len(held)]
                if step.what == "transmit":
                    tws.transmit(ticket)
                else:
                    tws.tickets.remove(ticket)
            return
        alive = [ticket for ticket in tws.tickets if ticket.alive]
        if alive:
            ticket = alive[step.place % len(alive)]
            if isinstance(step, common.Fill):
                tws.fill(ticket, step.quarters, halves=step.halves)
            else:
                tws.cancel(ticket)

    def _cut(self, step: script_of.Cut) -> None:
        tws = self.tws
        tws.up = False
        tws.cut(delivered=step.delivered)
        if step.reset:
            tws.next_order_id = 1

        def back() -> None:
            tws.up = True

        self._loop.call_later(step.seconds, back)

    def _lose_link(self, step: script_of.Stale) -> None:
        tws, code = self.tws, LINK_BACK_LOST if step.data_lost else LINK_BACK_KEPT
        tws.stale = True
        tws.tell(lambda heard: heard.on_error(-1, LINK_LOST, "lost"))

        def back() -> None:
            tws.stale = False
            tws.tell(lambda heard: heard.on_error(-1, code, "back"))

        self._loop.call_later(step.seconds, back)

    # ------------------------------------------------------------------ the end

    def _calm(self) -> None:
        self.tws.news_modes.clear()
        self.tws.answer_modes.clear()

    def _busy(self) -> str:
        return "TWS is away" if not self.tws.up or self.tws.stale else ""

    def _shown(self) -> list[Ticket]:
        return [ticket for ticket in self.tws.tickets if ticket.account == ACCOUNT and not ticket.held]

    def _name(self, ticket: Ticket) -> str:
        return ticket.local or self.engine.outlet.ids.external(str(ticket.perm_id))

    def _differences(self) -> list[str]:
        """What is not yet as it must become."""
        outlet = self.engine.outlet
        wrong: list[str] = []
        tickets = {str(ticket.perm_id): ticket for ticket in self._shown()}
        by_number: defaultdict[str, list[TrackedOrder]] = defaultdict(list)
        arrived = {ticket.local for ticket in self._shown()}
        for order in outlet.tracker:
            if order.broker_id:
                by_number[order.broker_id].append(order)
            elif order.state is State.NEW:
                wrong.append(f"{order.orderid} is {order.state}")
            elif order.orderid in arrived:
                wrong.append(f"{order.orderid} has no number")
        sums, money = self._sums()
        told = {said.order.orderid: said.order for said in outlet.life.orders}
        wrong += [f"invented: {order}" for number in by_number.keys() - tickets.keys() for order in by_number[number]]
        for number, ticket in tickets.items():
            orders = by_number[number]
            if len(orders) != 1:
                if orders or not _went_unseen(ticket):
                    wrong.append(f"{ticket} is known {len(orders)} times")
                continue
            [order] = orders
            seen = told.get(order.orderid)
            if seen is None:
                wrong.append(f"{ticket} was not told")
                continue
            wrong += _unlike(ticket, order)
            if (order.orderid, order.external) != (self._name(ticket), not ticket.local):
                wrong.append(f"{ticket} is {order.orderid}, external {order.external}")
            if (seen.status, seen.traded) != (STATE2VT[order.state], float(order.traded)):
                wrong.append(f"told last: {seen}, tracked: {order}")
            spent = sum((Decimal(deal.shares) * Decimal(str(deal.price)) for deal in ticket.deals), Decimal(0))
            corrected = any(deal.revision > 1 for deal in ticket.deals)
            if sums[order.orderid] != ticket.filled or (money[order.orderid] != spent and not corrected):
                wrong.append(f"trades of {ticket}: {sums[order.orderid]} for {money[order.orderid]}, not {spent}")
        return wrong

    def _never(self) -> list[str]:
        """What must not have happened on the way."""
        tws = self.tws
        wrong = list(tws.wrong)
        wrong += [f"{local} was sent {count} times" for local, count in tws.requests.items() if count > 1]
        arrived = {ticket.local for ticket in tws.tickets if ticket.local}
        for life in self._all_lives():
            wrong += life.wrong()
            for said in life.orders:
                orderid = said.order.orderid
                ended = said.order.status in (Status.REJECTED, Status.CANCELLED)
                if ended and tws.requests[orderid] and orderid not in arrived | tws.coded:
                    wrong.append(f"{orderid} was ended by absence: {said.order}")
        names = {ticket.perm_id: self._name(ticket) for ticket in tws.tickets}
        for number in tws.cancelled:
            if names.get(number) not in self._wanted_cancels:
                wrong.append(f"{number} {names.get(number)} was cancelled, wanted were {self._wanted_cancels}")
        return wrong

    def _positions(self) -> dict[str, Decimal]:
        expected: defaultdict[str, Decimal] = defaultdict(Decimal)
        for ticket in self._shown():
            if ticket.local and ticket.deals:
                signed = ticket.filled if ticket.action == "BUY" else -ticket.filled
                expected[f"{ticket.contract.symbol}.SMART"] += signed
        return expected


def _went_unseen(ticket: Ticket) -> bool:
    """An order of somebody else's that came and went between two readings, without a fill: TWS tells nobody else."""
    return not ticket.local and ticket.status == "Cancelled" and not ticket.deals


def _unlike(ticket: Ticket, order: TrackedOrder) -> list[str]:
    kind = WIRE2KIND[ticket.kind]
    wanted: dict[str, Any] = {
        "symbol": ticket.contract.symbol,
        "direction": Direction.LONG if ticket.action == "BUY" else Direction.SHORT,
        "type": kind,
        "volume": ticket.volume,
        "traded": ticket.filled,
    }
    if kind is not OrderType.MARKET:
        wanted["price"] = Decimal(str(ticket.price))
    wrong = [
        f"{ticket.perm_id} {order.orderid}: {name} {getattr(order, name)}, not {value}"
        for name, value in wanted.items()
        if getattr(order, name) != value
    ]
    expected = ENDED2VT.get(ticket.status) or (Status.PARTTRADED if ticket.deals else Status.NOTTRADED)
    if STATE2VT[order.state] is not expected:
        wrong.append(f"{ticket.perm_id} {order.orderid}: {order.state}, not {expected}")
    return wrong
