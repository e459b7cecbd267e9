"""Runs a script of :mod:`tests.model_ib_script` on the real rooms and the model TWS, and judges the end."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections import defaultdict
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

from ib_async.contract import Contract
from vnpy.trader.constant import Direction, OrderType, Status

from tests import model_ib_script as script_of
from tests.model_ib_engine import (
    LINK_BACK_KEPT,
    LINK_BACK_LOST,
    LINK_LOST,
    STOCKS,
    IbEngine,
)
from tests.model_ib_script import Script, Step
from tests.model_loop import LoopClock, NothingLeft, VirtualLoop
from tests.model_outlet import Life
from tests.model_tws import ACCOUNT, OTHER_ACCOUNT, Ticket, Tws
from vnpy_brokerkit.lifecycle import STATE2VT, State
from vnpy_brokerkit.tracker import TrackedOrder

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
DEADLINE_S = 240.0
LOOK_EVERY_S = 5.0
AFTERWARDS_S = 25.0
"""What is equal must stay so."""
RAM = Path("/dev/shm")
KINDS = (OrderType.LIMIT, OrderType.MARKET, OrderType.STOP)
WIRE2KIND = {"LMT": OrderType.LIMIT, "MKT": OrderType.MARKET, "STP": OrderType.STOP}
ENDED2VT = {"Filled": Status.ALLTRADED, "Cancelled": Status.CANCELLED, "Inactive": Status.REJECTED}


class Failed(AssertionError):
    """Raised with what does not hold."""


def run(script: Script, engine_class: type[IbEngine] = IbEngine) -> None:
    """Run a script. Raises :class:`Failed` that names what does not hold at its end."""
    folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))
    loop = VirtualLoop(script.disk_s)
    try:
        try:
            loop.run_until_complete(Play(loop, script, folder, engine_class).run())
        except NothingLeft:
            raise Failed("everybody waits for ever") from None
        if loop.faults:
            raise Failed("\n".join(loop.faults))
    finally:
        loop.end()
        shutil.rmtree(folder)


class Play:
    """One script on its way."""

    def __init__(self, loop: VirtualLoop, script: Script, folder: Path, engine_class: type[IbEngine]) -> None:
        self._loop = loop
        self._script = script
        self._engine_class = engine_class
        self.clock = LoopClock(loop, START)
        self.tws = Tws(loop, self.clock, script)
        self._folders = (folder / str(number) for number in itertools.count())
        first = next(self._folders)
        first.mkdir()
        self.engine = engine_class(loop, self.clock, self.tws, first)
        self.lives: list[Life] = []
        self._sizes = itertools.count(1)
        self._wanted_cancels: set[str] = set()

    @property
    def _me(self) -> set[asyncio.Task[Any]]:
        task = asyncio.current_task()
        return {task} if task else set()

    async def run(self) -> None:
        self.engine.start()
        await self.clock.sleep(5.0)
        for step, pause in self._script.steps:
            await self._act(step)
            await asyncio.sleep(pause)
        await self._judge()

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
        elif isinstance(step, script_of.Fill | script_of.Correct | script_of.Turn):
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
        elif isinstance(step, script_of.Kill):
            await self._kill(step)
        elif isinstance(step, script_of.Renew):
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

    def _at_tws(self, step: script_of.Fill | script_of.Correct | script_of.Turn) -> None:
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
            if isinstance(step, script_of.Fill):
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

    async def _kill(self, step: script_of.Kill) -> None:
        for _turn in range(step.turns):
            await asyncio.sleep(0)
        folder = next(self._folders)
        await self.engine.kill(self._me, folder, written=step.written)
        self.lives.append(self.engine.outlet.life)
        await asyncio.sleep(step.seconds)
        self.engine = self._engine_class(self._loop, self.clock, self.tws, folder)
        self.engine.start()

    # ------------------------------------------------------------------ the end

    async def _judge(self) -> None:
        tws = self.tws
        tws.news_modes.clear()
        tws.answer_modes.clear()
        end = self.clock.monotonic() + DEADLINE_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            wrong = ["TWS is away"] if not tws.up or tws.stale else self._differences()
            if not wrong:
                await asyncio.sleep(AFTERWARDS_S)
                wrong = self._differences()
                break
            if self.clock.monotonic() > end:
                break
        wrong += self._never()
        wrong += await self._wrong_positions()
        if wrong:
            lines = [
                line for life in (*self.lives, self.engine.outlet.life) for line in (*life.lines, "-- end of life")
            ]
            raise Failed("\n".join([*dict.fromkeys(wrong), "log:", *lines[-30:]]))
        await self.engine.close()

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
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        money: defaultdict[str, Decimal] = defaultdict(Decimal)
        for trade in outlet.life.trades:
            sums[trade.orderid] += Decimal(str(trade.volume))
            money[trade.orderid] += Decimal(str(trade.volume)) * Decimal(str(trade.price))
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
        for life in (*self.lives, self.engine.outlet.life):
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

    async def _wrong_positions(self) -> list[str]:
        expected: defaultdict[str, Decimal] = defaultdict(Decimal)
        for ticket in self._shown():
            if ticket.local and ticket.deals:
                signed = ticket.filled if ticket.action == "BUY" else -ticket.filled
                expected[f"{ticket.contract.symbol}.SMART"] += signed
        found = await self.engine.outlet.positions()
        wanted = {name: volume for name, volume in expected.items() if volume}
        return [] if found == wanted else [f"the journal holds {found}, not {wanted}"]


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
