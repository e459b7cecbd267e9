"""A model of VBrokers behind its Gateway: orders, fills, lists and pushes in plain Python, with a truth of its own.

Newest rows first, pages by a cursor that shifts while rows arrive, no client order id and no fill id (reference
"vbrokers-openapi", sections 7.6, 10, 11, 13.4). It knows nothing of the rooms: requests come in as they would go out on
the wire, and ``local`` rides along in the parameters for the truth alone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from tests.model_loop import LoopClock, VirtualLoop
from tests.model_vb_rows import HONG_KONG, ZONES, Deal, Row, deal_row, order_row
from tests.model_vb_script import (
    ANSWERED_LATE,
    LOST_AFTER,
    LOST_BEFORE,
    NO_ID,
    NOT_SENT,
    OK,
    REFUSED,
    RESET_AFTER,
    RESET_LATE,
    VERY_LATE,
    Script,
)
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, Rejected, TimedOut, UnknownOutcome
from vnpy_vbrokers.cancels import CANCEL, CANCEL_MANY
from vnpy_vbrokers.orders import PLACE
from vnpy_vbrokers.wire.push import OrderUpdate

GATEWAY_GIVES_UP_S = 12.0
LATE_S = {RESET_LATE: 8.0, VERY_LATE: 40.0}
"""Seconds from a request's arrival to what it does: the Gateway itself waits up to 10 s for the broker."""


@dataclass(eq=False)
class Flight:
    """A request on its way. ``act`` is what it does at the broker; it returns the reply's data."""

    act: Callable[[], Any]
    answer: asyncio.Future[Any]
    fate: int
    sent: float
    carried: bool = False
    lost: bool = False


class Ears:
    """Who listens at the other end: one engine's session."""

    def on_push(self, update: OrderUpdate) -> None: ...
    def on_cut(self) -> None: ...
    def on_push_lost(self) -> None: ...
    def on_push_back(self) -> None: ...


class VbBroker:
    """The broker and its Gateway."""

    def __init__(self, loop: VirtualLoop, clock: LoopClock, script: Script) -> None:
        self._loop = loop
        self._clock = clock
        self._script = script
        self._ways = itertools.cycle(script.latencies)
        self._numbers = itertools.count(1)
        self.rows: list[Row] = []
        self.fates: dict[str, int] = {}
        """What becomes of the request of a local id."""
        self.arrivals: dict[str, int] = {}
        """Quarters that are filled when the order of a local id arrives."""
        self.cancel_fates: deque[int] = deque()
        self.push_modes: deque[str] = deque()
        self.read_modes: deque[str] = deque()
        self.requests: Counter[str] = Counter()
        """Requests for orders, by local id."""
        self.sent_at: dict[str, float] = {}
        self.cancelled: set[str] = set()
        """Numbers that a cancel of ours named."""
        self.ears: Ears | None = None
        self.up = True
        self.push_up = True
        self.wrong: list[str] = []
        self._flights: set[Flight] = set()
        self._push_epoch = 0
        self._kept_back: list[OrderUpdate] = []

    # ------------------------------------------------------------------ requests

    async def mutate(self, route: str, params: dict[str, Any]) -> Any:
        """Send a request; what it raises is what the connection would raise."""
        local = str(params.get("local", ""))
        fate = self.fates.get(local, OK) if route == PLACE else self._next_cancel_fate()
        if not self.up or fate == NOT_SENT:
            raise ConnectionFailed("not connected", about=route)
        if route == PLACE:
            self.requests[local] += 1
            self.sent_at[local] = self._clock.monotonic()
            act: Callable[[], Any] = partial(self._place, params)
        elif route == CANCEL:
            self.cancelled.add(params["entrustId"])
            act = partial(self._cancel, params["entrustId"])
        else:
            if route != CANCEL_MANY or not params["entrustId"]:
                self.wrong.append(f"{route} {params}")
            self.cancelled.update(params["entrustId"])
            act = partial(self._cancel_many, params["entrustId"])
        flight = Flight(act, self._loop.create_future(), fate, self._clock.monotonic(), lost=fate == LOST_BEFORE)
        self._flights.add(flight)
        self._after(next(self._ways), lambda: self._arrive(flight))
        try:
            return await flight.answer
        finally:
            if flight.carried or flight.lost:
                self._flights.discard(flight)

    def _next_cancel_fate(self) -> int:
        return self.cancel_fates.popleft() if self.cancel_fates else OK

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        self._loop.call_later(seconds, call)

    def _arrive(self, flight: Flight) -> None:
        fate = flight.fate
        way = next(self._ways)
        if fate in LATE_S:
            self._after(LATE_S[fate], lambda: self._carry_out(flight))
            _fail(flight.answer, UnknownOutcome("connection reset", about="mutation"))
            return
        if fate in (LOST_BEFORE, LOST_AFTER):
            left = flight.sent + GATEWAY_GIVES_UP_S - self._clock.monotonic()
            self._after(left, lambda: _fail(flight.answer, TimedOut("no answer", about="mutation")))
        if fate == REFUSED:
            flight.lost = True
            self._after(way, lambda: _fail(flight.answer, Rejected("购买力不足", about="mutation")))
        reply = self._carry_out(flight)
        if flight.lost or fate == LOST_AFTER:
            return
        if fate == RESET_AFTER:
            _fail(flight.answer, UnknownOutcome("connection reset", about="mutation"))
        elif isinstance(reply, BrokerError):
            self._after(way, lambda: _fail(flight.answer, reply))
        else:
            data = {} if fate == NO_ID else reply
            self._after(way + (6.0 if fate == ANSWERED_LATE else 0.0), lambda: _answer(flight.answer, data))

    def _carry_out(self, flight: Flight) -> Any:
        self._flights.discard(flight)
        if flight.lost or flight.carried:
            return None
        flight.carried = True
        return flight.act()

    @property
    def busy(self) -> bool:
        """Whether a request has not reached the broker yet, and will."""
        return any(not flight.lost and not flight.carried for flight in self._flights)

    # ------------------------------------------------------------------ what requests do

    def _place(self, params: dict[str, Any]) -> Any:
        local = params["local"]
        row = self._enter(
            params["exchangeType"],
            params["stockCode"],
            params["entrustBs"],
            params["entrustType"],
            Decimal(params["entrustPrice"]),
            Decimal(params["entrustAmount"]),
            local,
        )
        row.late_s = self._clock.monotonic() - self.sent_at[local]
        self.fill(row, self.arrivals.get(local, 0))
        return {"entrustId": row.id}

    def _enter(
        self, market: str, code: str, side: str, kind: str, price: Decimal, volume: Decimal, local: str = ""
    ) -> Row:
        number = 1_000_000 + next(self._numbers)
        seen_at = self._clock.monotonic() + self._script.lag_s
        row = Row(str(number), market, code, side, kind, price, volume, self._clock.now(), seen_at, local)
        if kind == "5":
            row.price = Decimal(100) if self._script.market_price else Decimal(0)
        self.rows.append(row)
        self._push(row, None)
        return row

    def phone(self, market: str, code: str, side: str, price: Decimal, volume: Decimal, quarters: int) -> None:
        """Place an order past us."""
        self.fill(self._enter(market, code, side, "3" if market == "P" else "2", price, volume), quarters)

    def _find(self, number: str) -> Row | None:
        return next((row for row in self.rows if row.id == number), None)

    def _cancel(self, number: str) -> Any:
        row = self._find(number)
        if row is None or not row.active:
            return Rejected("委托已结束", about=CANCEL)
        if self._script.told_pending:
            row.status = "4" if row.deals else "3"
            self._push(row, None)
            self._after(next(self._ways), lambda: self.cancel(row))
        else:
            self.cancel(row)
        return {"entrustId": row.id}

    def _cancel_many(self, numbers: list[str]) -> Any:
        failed = [number for number in numbers if isinstance(self._cancel(number), BrokerError)]
        done = [number for number in numbers if number not in failed]
        return {
            "successEntrustId": done,
            "failCancelEntrust": [{"failEntrustId": n, "remark": "已结束"} for n in failed],
        }

    # ------------------------------------------------------------------ what happens at the broker

    def cancel(self, row: Row) -> None:
        if row.active:
            row.status = "5" if row.deals else "6"
            self._push(row, None)

    def reject(self, row: Row) -> None:
        if row.active and not row.deals:
            row.status, row.remark = "9", "风控拒绝"
            self._push(row, None)

    def fill(self, row: Row, quarters: int, *, halves: bool = False) -> None:
        """Fill so many quarters of the order's size, or what is left, each fill at a price of its own."""
        wanted = min(row.volume - row.traded, row.volume * quarters / 4)
        parts = [wanted / 2, wanted / 2] if halves else [wanted]
        for part in parts:
            if not row.active or part <= 0:
                return
            number = next(self._numbers)
            deal = Deal(number, part, Decimal(100) + Decimal(number) / 100, row.traded + part, self._clock.now())
            row.deals.append(deal)
            row.status = "8" if deal.total == row.volume else ("4" if row.status in "34" else "7")
            self._push(row, deal)

    def pass_midnight(self, seconds: float, *, carried: bool) -> None:
        """The machine sleeps: what is on its way is carried out now or never, and Hong Kong's day orders end."""
        self._settle_flights(carried)
        self._clock.ahead += timedelta(seconds=seconds)
        for row in self.rows:
            if row.market == "K":
                self.cancel(row)

    # ------------------------------------------------------------------ losses

    def cut(self, *, carried: bool) -> None:
        """The Gateway is gone: nothing is answered any more."""
        self.up = False
        self._settle_flights(carried)
        self.cut_push()
        if self.ears:
            self.ears.on_cut()

    def _settle_flights(self, carried: bool) -> None:
        for flight in list(self._flights):
            flight.lost = flight.lost or not carried
            self._carry_out(flight)
            _fail(flight.answer, UnknownOutcome("connection reset", about="mutation"))

    def drop_unwritten(self) -> None:
        """The engine died before what it wrote had left its machine."""
        for flight in list(self._flights):
            if flight.fate not in LATE_S:
                flight.lost = True

    def back(self) -> None:
        self.up = True
        self.back_push()

    def cut_push(self) -> None:
        self.push_up = False
        self._push_epoch += 1
        self._kept_back.clear()
        if self.ears:
            self.ears.on_push_lost()

    def back_push(self) -> None:
        if self.up and not self.push_up:
            self.push_up = True
            if self.ears:
                self.ears.on_push_back()

    # ------------------------------------------------------------------ pushes

    def _push(self, row: Row, deal: Deal | None) -> None:
        if not self.push_up or self.ears is None:
            return
        mode = self.push_modes.popleft() if self.push_modes else ""
        if mode == "lose":
            return
        now = self._clock.now().astimezone(ZONES[row.market])
        update = OrderUpdate(
            record_no=row.id,
            entrust_no=f"E{row.id}" if self._script.two_numbers else row.id,
            entrust_status=row.status,
            stock_code=row.code,
            exchange_type=row.market,
            entrust_bs=row.side,
            business_price=deal.price if deal else Decimal(0),
            business_amount=deal.volume if deal else Decimal(0),
            business_date=f"{now:%Y%m%d}",
            business_time=f"{now:%H%M%S}",
            sum_business_amount=row.traded,
            original_amount=row.volume,
            original_price=row.price,
            left_amount=row.volume - row.traded if row.active else Decimal(0),
            entrust_price=row.price,
            entrust_amount=row.volume,
            remark=row.remark,
            match_no=f"M{deal.number}" if deal else "",
            notify_time=int(now.timestamp() * 1000),
        )
        way = next(self._ways)
        if mode == "last":
            self._kept_back.append(update)
            return
        updates, self._kept_back = [update, *self._kept_back], []
        for one in updates:
            self._deliver(one, way)
        if mode == "twice":
            self._deliver(update, way + next(self._ways))
        elif mode == "late":
            self._deliver(update, way + 5.0)

    def _deliver(self, update: OrderUpdate, seconds: float) -> None:
        epoch = self._push_epoch

        def arrive() -> None:
            if self.ears and epoch == self._push_epoch:
                self.ears.on_push(update)

        self._after(seconds, arrive)

    # ------------------------------------------------------------------ lists

    async def read_list(self, route: str, params: dict[str, Any]) -> Any:
        """Answer for a page of a list, as it is when the request arrives."""
        mode = self.read_modes.popleft() if self.read_modes else ""
        if not self.up:
            raise ConnectionFailed("not connected", about=route)
        await self._clock.sleep(next(self._ways) + (7.0 if mode == "slow" else 0.0))
        if mode == "fail":
            raise TimedOut("no answer", about=route)
        items = list(self._listed(route, params))
        page = items if "entrustId" in params else self._page(items, params, mode)
        if mode == "damaged" and page:
            page[0] = {**page[0], "entrustId": ""}
        await self._clock.sleep(next(self._ways))
        if not self.up:
            raise ConnectionFailed("connection reset", about=route)
        return {"data": page}

    def _page(self, items: list[dict[str, str]], params: dict[str, Any], mode: str) -> list[dict[str, str]]:
        cursor, count = str(params["queryParamStr"]), int(params["queryCount"])
        start = 0
        if cursor != "0":
            by_name = [number for number, item in enumerate(items) if item["queryParamStr"] == cursor]
            start = int(cursor) if self._script.by_offset else (by_name[0] + 1 if by_name else len(items))
        page = [dict(item) for item in items[start : start + count]]
        for place, item in enumerate(page):
            if self._script.by_offset:
                item["queryParamStr"] = str(start + place + 1)
            if mode == "stuck":
                item["queryParamStr"] = cursor
        return page

    def _listed(self, route: str, params: dict[str, Any]) -> Iterator[dict[str, str]]:
        """Newest first. The present lists are those of Hong Kong's day."""
        market, today = params["exchangeType"], self._clock.now().astimezone(HONG_KONG).date()
        zone = ZONES[market]

        def due(at: datetime) -> bool:
            past = at.astimezone(HONG_KONG).date() < today
            return past and self._within(at.astimezone(zone).date(), params) if "startDate" in params else not past

        rows = [row for row in self.rows if row.market == market and row.seen_at <= self._clock.monotonic()]
        wanted = params.get("entrustId")
        if "EntrustList" in route:
            for row in reversed(rows):
                if due(row.placed) and (wanted is None or row.id in wanted):
                    yield order_row(row, zone)
            return
        deals = [(deal, row) for row in rows for deal in row.deals if due(deal.time)]
        for deal, row in sorted(deals, key=lambda pair: -pair[0].number):
            yield deal_row(deal, row, zone)

    @staticmethod
    def _within(day: date, params: dict[str, Any]) -> bool:
        return str(params["startDate"]) <= f"{day:%Y%m%d}" <= str(params["endDate"])


def _fail(answer: asyncio.Future[Any], error: BrokerError) -> None:
    if not answer.done():
        answer.set_exception(error)
        answer.exception()  # who was killed does not fetch it


def _answer(answer: asyncio.Future[Any], data: Any) -> None:
    if not answer.done():
        answer.set_result(data)
