"""From what a line brings to ticks: one tick for what comes in one packet, whose time moves forward."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from vnpy.trader.object import TickData

from vnpy_brokerkit.aliases import respelled
from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.tick_time import NEVER
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.trading_hours import Segment

from .board import Board
from .contracts import Contracts, Key
from .streams import LineStream
from .ticks import make_tick


class Tape:
    """The ticks of one gateway. ``on_tick`` gets them, ``on_price`` each change of a price."""

    def __init__(
        self,
        *,
        contracts: Contracts,
        clock: Clock,
        timing: Timing,
        zone: ZoneInfo,
        gateway_name: str,
        synthetic_percent: float,
        on_tick: Callable[[TickData], None],
        on_price: Callable[[str], None],
    ) -> None:
        self._contracts = contracts
        self._clock = clock
        self._timing = timing
        self._zone = zone
        self._gateway_name = gateway_name
        self._reach = Decimal(str(synthetic_percent)) / 100
        self._on_tick = on_tick
        self._on_price = on_price
        self._dirty: list[LineStream] = []
        self._prices: dict[Key, Decimal] = {}
        self._segments: dict[Key, tuple[datetime, Segment]] = {}

    def clear(self) -> None:
        """Forget what waits to be given out."""
        self._dirty.clear()

    def segment_of(self, board: Board) -> Segment:
        """The segment that an instrument trades in now."""
        now = self._clock.now().replace(microsecond=0)
        key = board.instrument.key
        known = self._segments.get(key)
        if known is None or known[0] != now:
            known = self._segments[key] = (now, self._contracts.segment(board.instrument, now))
        return known[1]

    def touch(self, line: LineStream) -> None:
        """Something changed. What comes in one packet goes out as one tick, up to the next trade at another price."""
        if line.board.volume != line.board.given:
            line.last_pending = True  # TWS does not repeat the price of a trade at the last one
        if not line.dirty:
            line.dirty = True
            if not self._dirty:
                asyncio.get_running_loop().call_soon(self._give_all)
            self._dirty.append(line)

    def _give_all(self) -> None:
        lines, self._dirty = self._dirty, []
        for line in lines:
            if line.dirty:
                self.give(line)

    def give(self, line: LineStream) -> None:
        """Give out a board as it now is."""
        line.dirty = line.last_pending = False
        board = line.board
        board.given = board.volume
        price = board.price()
        if not price:
            return
        line.heard.set()
        key = board.instrument.key
        board.instrument = self._contracts.at_price(board.instrument, price)
        if self._prices.get(key) != price:
            self._prices[key] = price
            self._on_price(board.instrument.vt_symbol)
        if board.shown and self._may_stamp(line):
            self._emit(board)

    def _may_stamp(self, line: LineStream) -> bool:
        """Wait for what TWS tells at first, which may come in several packets.

        The day's volume and high after the first tick would be taken for those of its minute. A quote of a closed
        market, or a delayed one, is as old as its last trade, whose time TWS tells.
        """
        board = line.board
        if line.settled:
            return True
        if board.last and not (board.volume and board.high):
            return False
        if board.trade_time is not None:
            return True
        return not board.delayed and self.segment_of(board) is not Segment.CLOSED

    async def settle(self, line: LineStream) -> None:
        """The first ticks had their time: what has not told its trade's time is given out without."""
        await self._clock.sleep(self._timing.book_wait)
        line.settled = True
        if line.board.shown and line.board.time is None:
            self.touch(line)

    def _stamp(self, board: Board) -> datetime:
        """When a tick's news is from: the trade's own time where TWS told it to the millisecond, else arrival.

        Where the market rests or the data is old, the whole second of the last trade is nearer than arrival.
        """
        now = self._clock.now()
        told, board.trade_news = board.trade_news, None
        if told is None and (board.delayed or self.segment_of(board) is Segment.CLOSED):
            told = board.trade_time
        return min(told, now) if told else now

    def _emit(self, board: Board) -> None:
        at, arrived = (moment.astimezone(self._zone) for moment in (self._stamp(board), self._clock.now()))
        tick = make_tick(board, self._gateway_name, at, arrived, self.segment_of(board), self._reach)
        ticks = board.stamps.place(tick, board.trade_time if board.last else NEVER)
        board.time = tick.datetime
        for one in ticks:
            self._on_tick(one)
            for alias in self._contracts.aliases(board.instrument):
                self._on_tick(respelled(one, alias))
