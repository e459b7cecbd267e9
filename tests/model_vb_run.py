"""Runs a script of :mod:`tests.model_vb_script` on the real rooms and the model broker, and judges the end."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections import Counter, defaultdict
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Direction, Exchange, OrderType, Status

import vnpy_vbrokers.order_lists as order_lists
from tests import model_vb_script as script_of
from tests.model_loop import LoopClock, NothingLeft, VirtualLoop
from tests.model_outlet import Life
from tests.model_vb_broker import VbBroker
from tests.model_vb_engine import TIMING, VbEngine, listed_since
from tests.model_vb_rows import HONG_KONG, ZONES, Row
from tests.model_vb_script import Script, Step
from vnpy_brokerkit.lifecycle import STATE2VT
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_vbrokers.contracts import from_code

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
"""Eleven in New York, and an hour before Hong Kong's midnight."""
STOCKS = (("IBM", Exchange.SMART, "P"), ("AAPL", Exchange.SMART, "P"), ("00700", Exchange.SEHK, "K"))
CODES = ("IBM", "AAPL", "00700.HK")
PRICE = Decimal(100)
DEADLINE_S = 240.0
LOOK_EVERY_S = 5.0
AFTERWARDS_S = 25.0
"""What is equal must stay so."""
PAGE = order_lists.PAGE
RAM = Path("/dev/shm")

STATUS2VT = {
    "1": Status.SUBMITTING,
    "2": Status.NOTTRADED,
    "3": Status.NOTTRADED,
    "4": Status.PARTTRADED,
    "7": Status.PARTTRADED,
    "8": Status.ALLTRADED,
    "5": Status.CANCELLED,
    "6": Status.CANCELLED,
    "9": Status.REJECTED,
}


class Failed(AssertionError):
    """Raised with what does not hold."""


def run(script: Script, engine_class: type[VbEngine] = VbEngine, *, exact_money: bool = False) -> None:
    """Run a script. Raises :class:`Failed` that names what does not hold at its end.

    ``exact_money``: each share has the price of its own fill, also where pages shift and fills of one size can't always
    be told apart.
    """
    order_lists.PAGE = script.page
    folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))
    loop = VirtualLoop(script.disk_s)
    try:
        play = Play(loop, script, folder, engine_class)
        play.exact_money = exact_money or not script.by_offset or script.page == PAGE
        try:
            loop.run_until_complete(play.run())
        except NothingLeft:
            raise Failed("everybody waits for ever") from None
        if loop.faults:
            raise Failed("\n".join(loop.faults))
    finally:
        order_lists.PAGE = PAGE
        loop.end()
        shutil.rmtree(folder)


class Play:
    """One script on its way."""

    def __init__(self, loop: VirtualLoop, script: Script, folder: Path, engine_class: type[VbEngine]) -> None:
        self._loop = loop
        self._script = script
        self._folder = folder
        self._engine_class = engine_class
        self.clock = LoopClock(loop, START)
        self.broker = VbBroker(loop, self.clock, script)
        self._folders = (folder / str(number) for number in itertools.count())
        first = next(self._folders)
        first.mkdir()
        self.engine = engine_class(loop, self.clock, self.broker, first)
        self.lives: list[Life] = []
        self._sizes = itertools.count(2)
        self._last: tuple[int, bool, bool, int] = (0, True, False, 8)
        """Stock, side, kind and size of our last order, for twins."""
        self._locals: list[str] = []
        self._wanted_cancels: set[str] = set()
        self._phone_twins = False
        self._midnight = False
        self.exact_money = True

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
        broker, engine = self.broker, self.engine
        if isinstance(step, script_of.Send):
            self._send(step)
        elif isinstance(step, script_of.Phone):
            stock, buy, market, size = step.stock, step.buy, False, 8 * next(self._sizes)
            if step.twin and self._script.twins:
                stock, buy, market, size = self._last
                self._phone_twins = True
            if not market:
                side = "1" if buy else "2"
                broker.phone(STOCKS[stock][2], CODES[stock], side, PRICE, Decimal(size), step.filled)
        elif isinstance(step, script_of.Fill | script_of.Turn):
            active = [row for row in broker.rows if row.active]
            if active:
                row = active[step.place % len(active)]
                if isinstance(step, script_of.Fill):
                    broker.fill(row, step.quarters, halves=step.halves)
                elif step.what == "cancel":
                    broker.cancel(row)
                else:
                    broker.reject(row)
        elif isinstance(step, script_of.Cancel):
            working = engine.outlet.tracker.active()
            if working:
                order = working[step.place % len(working)]
                self._wanted_cancels.add(order.orderid)
                broker.cancel_fates.append(step.fate)
                engine.cancel(order.orderid)
        elif isinstance(step, script_of.CancelAll):
            code = STOCKS[step.stock][2]
            self._wanted_cancels |= {o.orderid for o in engine.outlet.tracker.active() if not o.external}
            broker.cancel_fates.append(step.fate)
            engine.cancel_all(code)
        elif isinstance(step, script_of.Pushes):
            broker.push_modes.extend([step.mode] * step.count)
        elif isinstance(step, script_of.Reads):
            broker.read_modes.extend([step.mode] * step.count)
        elif isinstance(step, script_of.Cut):
            broker.cut(carried=step.carried)
            self._loop.call_later(step.seconds, broker.back)
        elif isinstance(step, script_of.PushCut):
            broker.cut_push()
            self._loop.call_later(step.seconds, broker.back_push)
        elif isinstance(step, script_of.Kill):
            await self._kill(step)
        elif isinstance(step, script_of.Renew):
            await engine.renew()
        elif isinstance(step, script_of.Midnight):
            await self._sleep_over(step)
        else:
            await asyncio.sleep(step.seconds)

    def _send(self, step: script_of.Send) -> None:
        stock, buy, market, size = step.stock, step.buy, step.market and step.stock < 2, 0
        if step.twin and self._script.twins:
            stock, buy, market, size = self._last
        size = size or 8 * next(self._sizes)
        self._last = (stock, buy, market, size)
        symbol, exchange, _code = STOCKS[stock]
        direction = Direction.LONG if buy else Direction.SHORT
        kind = OrderType.MARKET if market else OrderType.LIMIT
        order = self.engine.outlet.take(symbol, exchange, direction, kind, size, Decimal(0) if market else PRICE)
        self._locals.append(order.orderid)
        self.broker.fates[order.orderid] = step.fate
        self.broker.arrivals[order.orderid] = step.filled
        self.engine.quotes[order.orderid] = step.quote_s
        self.engine.place(order)

    async def _kill(self, step: script_of.Kill) -> None:
        for _turn in range(step.turns):
            await asyncio.sleep(0)
        folder = next(self._folders)
        if not step.written:
            self.broker.drop_unwritten()
        await self.engine.kill(self._me, folder)
        self.lives.append(self.engine.outlet.life)
        await asyncio.sleep(step.seconds)
        self._begin(folder)

    def _begin(self, folder: Path) -> None:
        self.engine = self._engine_class(self._loop, self.clock, self.broker, folder)
        self.engine.start()

    async def _sleep_over(self, step: script_of.Midnight) -> None:
        if self._midnight:
            return
        self._midnight = True
        self.broker.cut(carried=step.carried)
        self.broker.pass_midnight(3900.0, carried=step.carried)
        await asyncio.sleep(0.5)
        self.broker.back()

    # ------------------------------------------------------------------ the end

    async def _judge(self) -> None:
        broker = self.broker
        for modes in (broker.cancel_fates, broker.push_modes, broker.read_modes):
            modes.clear()
        broker.back()
        broker.back_push()
        end = self.clock.monotonic() + DEADLINE_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            wrong = ["a request is still on its way"] if broker.busy else self._differences()
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

    def _differences(self) -> list[str]:
        """What is not yet as it must become."""
        tracker = self.engine.outlet.tracker
        wrong: list[str] = []
        by_number: defaultdict[str, list[TrackedOrder]] = defaultdict(list)
        for order in tracker:
            if order.broker_id:
                by_number[order.broker_id].append(order)
            elif order.active and not self._may_stay_unknown(order):
                wrong.append(f"{order.orderid} is {order.state}")
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        money: defaultdict[str, Decimal] = defaultdict(Decimal)
        for trade in self.engine.outlet.life.trades:
            sums[trade.orderid] += Decimal(str(trade.volume))
            money[trade.orderid] += Decimal(str(trade.volume)) * Decimal(str(trade.price))
        told = {said.order.orderid: said.order for said in self.engine.outlet.life.orders}
        rows = {row.id: row for row in self.broker.rows}
        wrong += [f"invented: {order}" for number in by_number.keys() - rows.keys() for order in by_number[number]]
        for row in self.broker.rows:
            orders = by_number[row.id]
            if len(orders) != 1:
                if orders or self._must_be_known(row):
                    wrong.append(f"{row} is known {len(orders)} times")
                continue
            [order] = orders
            seen = told.get(order.orderid)
            if seen is None:
                if self._must_be_known(row):
                    wrong.append(f"{row} was not told")
                continue
            wrong += _unlike(row, order)
            if (seen.status, seen.traded) != (STATE2VT[order.state], float(order.traded)):
                wrong.append(f"told last: {seen}, tracked: {order}")
            spent = sum((deal.volume * deal.price for deal in row.deals), Decimal(0))
            if self._told_before(row) and sums[order.orderid] <= row.traded:
                continue
            if sums[order.orderid] != row.traded or (money[order.orderid] != spent and self.exact_money):
                wrong.append(f"trades of {row}: {sums[order.orderid]} for {money[order.orderid]}, not {spent}")
        if not self._script.twins:
            wrong += self._wrong_owners(by_number)
        return wrong

    def _told_before(self, row: Row) -> bool:
        """Whether fills of the order are older than what the lists tell a new process: the one before has told them."""
        exchange = from_code(row.code, row.market)[1]
        since = listed_since(exchange, self.clock.now())
        return bool(self.lives) and any(deal.time < since for deal in row.deals)

    def _may_stay_unknown(self, order: TrackedOrder) -> bool:
        lines = self.engine.outlet.life.lines
        return self._phone_twins and any(order.orderid in line and "无法核实" in line for line in lines)

    def _must_be_known(self, row: Row) -> bool:
        """Whether today's lists, or what worked when this life began, show the order."""
        now = self.clock.now()
        today = row.placed.astimezone(HONG_KONG).date() == now.astimezone(HONG_KONG).date()
        zone: ZoneInfo = ZONES[row.market]
        present = row.market == "P" and row.placed.astimezone(zone).date() == now.astimezone(zone).date()
        return today or present or row.active

    def _wrong_owners(self, by_number: dict[str, list[TrackedOrder]]) -> list[str]:
        wrong = []
        for row in self.broker.rows:
            for order in by_number.get(row.id, ()):
                external = self.engine.outlet.ids.external(row.id)
                # Given up by the rule, and turned up after it: an external order with an alarm.
                too_late = row.late_s > TIMING.settle_after and order.orderid == external and order.external
                if not too_late and (order.orderid, order.external) != (row.local or external, not row.local):
                    wrong.append(f"{row} is {order.orderid}, external {order.external}")
        return wrong

    def _never(self) -> list[str]:
        """What must not have happened on the way."""
        wrong = list(self.broker.wrong)
        wrong += [f"{local} was sent {count} times" for local, count in self.broker.requests.items() if count > 1]
        lives = [*self.lives, self.engine.outlet.life]
        for life in lives:
            wrong += life.wrong()
        known = {row.local: row for row in self.broker.rows if row.local}
        arrived = Counter(row.local for row in self.broker.rows if row.local)
        wrong += [f"{local} arrived {count} times" for local, count in arrived.items() if count > 1]
        for life in lives:
            for said in life.orders:
                orderid = said.order.orderid
                sent = self.broker.sent_at.get(orderid)
                if said.order.status is not Status.REJECTED or "两次均无" not in str(said.order.extra):
                    continue
                if sent is not None and said.at - sent < TIMING.settle_after and not self._midnight:
                    wrong.append(f"{orderid} was given up {said.at - sent} s after sending")
                row = known.get(orderid)
                if row is not None and row.late_s <= TIMING.settle_after and not self._script.twins:
                    wrong.append(f"{orderid} was given up, and is {row}")
        if not self._script.twins:
            names = {self.engine.outlet.ids.external(row.id): row for row in self.broker.rows}
            named = {row.local or self.engine.outlet.ids.external(row.id) for row in self.broker.rows}
            wanted = self._wanted_cancels
            for number in self.broker.cancelled:
                external = self.engine.outlet.ids.external(number)
                row = names.get(external)
                if row is None or not {row.local, external} & wanted:
                    wrong.append(f"{number} was cancelled, wanted were {wanted & named}")
        return wrong

    async def _wrong_positions(self) -> list[str]:
        expected: defaultdict[str, Decimal] = defaultdict(Decimal)
        tracker = self.engine.outlet.tracker
        for row in self.broker.rows:
            order = tracker.find([row.id])
            in_time = bool(row.local) and row.late_s <= TIMING.settle_after
            mine = in_time if order is None else not order.external
            if mine and row.deals:
                symbol, exchange = from_code(row.code, row.market)
                expected[f"{symbol}.{exchange.name}"] += row.traded if row.side == "1" else -row.traded
        found = await self.engine.outlet.positions()
        wanted = {name: volume for name, volume in expected.items() if volume}
        return [] if found == wanted else [f"the journal holds {found}, not {wanted}"]


def _unlike(row: Row, order: TrackedOrder) -> list[str]:
    symbol, exchange = from_code(row.code, row.market)
    wanted = {
        "symbol": symbol,
        "exchange": exchange,
        "direction": Direction.LONG if row.side == "1" else Direction.SHORT,
        "type": OrderType.MARKET if row.type == "5" else OrderType.LIMIT,
        "volume": row.volume,
        "traded": row.traded,
    }
    if row.type != "5":
        wanted["price"] = row.price
    wrong = [
        f"{row.id} {order.orderid}: {name} {getattr(order, name)}, not {value}"
        for name, value in wanted.items()
        if getattr(order, name) != value
    ]
    if STATE2VT[order.state] is not STATUS2VT[row.status]:
        wrong.append(f"{row.id} {order.orderid}: {order.state}, not {STATUS2VT[row.status]}")
    return wrong
