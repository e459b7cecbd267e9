"""Runs a script of :mod:`tests.model_vb_script` on the real rooms and the model broker, and judges the end."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Direction, Exchange, OrderType, Status

import vnpy_vbrokers.order_lists as order_lists
from tests import model_script as common
from tests import model_vb_script as script_of
from tests.model_loop import VirtualLoop
from tests.model_run import Play, run_play
from tests.model_vb_broker import VbBroker
from tests.model_vb_engine import TIMING, VbEngine, listed_since
from tests.model_vb_rows import HONG_KONG, ZONES, Row
from tests.model_vb_script import Script, Step
from vnpy_brokerkit.lifecycle import STATE2VT
from vnpy_brokerkit.tracker import TrackedOrder
from vnpy_vbrokers.spelling import from_code

STOCKS = (("IBM", Exchange.SMART, "P"), ("AAPL", Exchange.SMART, "P"), ("00700", Exchange.SEHK, "K"))
CODES = ("IBM", "AAPL", "00700.HK")
PRICE = Decimal(100)
PAGE = order_lists.PAGE

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


def run(script: Script, engine_class: type[VbEngine] = VbEngine, *, exact_money: bool = False) -> None:
    """Run a script. Raises :class:`Failed` that names what does not hold at its end.

    ``exact_money``: each share has the price of its own fill, also where pages shift and fills of one size can't always
    be told apart.
    """
    order_lists.PAGE = script.page
    exact = exact_money or not script.by_offset or script.page == PAGE
    try:
        run_play(script.disk_s, lambda loop, folder: VbPlay(loop, script, folder, engine_class, exact))
    finally:
        order_lists.PAGE = PAGE


class VbPlay(Play[VbEngine, Step]):
    """One script on its way."""

    def __init__(
        self, loop: VirtualLoop, script: Script, folder: Path, engine_class: type[VbEngine], exact_money: bool
    ) -> None:
        super().__init__(loop, script.steps, folder)
        self._script = script
        self._engine_class = engine_class
        self._exact_money = exact_money
        self.broker = VbBroker(loop, self.clock, script)
        self._sizes = itertools.count(2)
        self._last: tuple[int, bool, bool, int] = (0, True, False, 8)
        """Stock, side, kind and size of our last order, for twins."""
        self._phone_twins = False
        self._midnight = False
        self.engine = self._new_engine(self._first_folder())

    def _new_engine(self, folder: Path) -> VbEngine:
        return self._engine_class(self._loop, self.clock, self.broker, folder)

    async def _end_life(self, spare: set[asyncio.Task[Any]], folder: Path, *, written: bool) -> None:
        if not written:
            self.broker.drop_unwritten()
        await self.engine.kill(spare, folder)

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
        elif isinstance(step, common.Fill | script_of.Turn):
            active = [row for row in broker.rows if row.active]
            if active:
                row = active[step.place % len(active)]
                if isinstance(step, common.Fill):
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
        elif isinstance(step, common.Kill):
            await self._kill(step)
        elif isinstance(step, common.Renew):
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
        self.broker.fates[order.orderid] = step.fate
        self.broker.arrivals[order.orderid] = step.filled
        self.engine.quotes[order.orderid] = step.quote_s
        self.engine.place(order)

    async def _sleep_over(self, step: script_of.Midnight) -> None:
        if self._midnight:
            return
        self._midnight = True
        self.broker.cut(carried=step.carried)
        self.broker.pass_midnight(3900.0, carried=step.carried)
        await asyncio.sleep(0.5)
        self.broker.back()

    # ------------------------------------------------------------------ the end

    def _calm(self) -> None:
        broker = self.broker
        for modes in (broker.cancel_fates, broker.push_modes, broker.read_modes):
            modes.clear()
        broker.back()
        broker.back_push()

    def _busy(self) -> str:
        return "a request is still on its way" if self.broker.busy else ""

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
        sums, money = self._sums()
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
            if sums[order.orderid] != row.traded or (money[order.orderid] != spent and self._exact_money):
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
        lives = self._all_lives()
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

    def _positions(self) -> dict[str, Decimal]:
        expected: defaultdict[str, Decimal] = defaultdict(Decimal)
        tracker = self.engine.outlet.tracker
        for row in self.broker.rows:
            order = tracker.find([row.id])
            in_time = bool(row.local) and row.late_s <= TIMING.settle_after
            mine = in_time if order is None else not order.external
            if mine and row.deals:
                symbol, exchange = from_code(row.code, row.market)
                expected[f"{symbol}.{exchange.name}"] += row.traded if row.side == "1" else -row.traded
        return expected


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
