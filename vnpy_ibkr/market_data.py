"""Quotes: one line of TWS for each instrument, depth for the few that were shown last.

TWS gives 100 lines and 3 depth books (reference "tws-api", section 10), so lines are a budget: what is held, ordered or
used by a strategy keeps its line, of the others the one that was asked for longest ago gives way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.object import TickData

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.trading_hours import Segment
from vnpy_brokerkit.waiting import within

from .board import Board, Level
from .channel import Channel
from .contracts import Contracts, Key
from .depths import Depths
from .errors import NO_LIVE_DATA, is_notice, words_for
from .streams import LineStream
from .tape import Tape
from .wire.tws import Wire

__all__ = ["Board", "Level", "MarketData"]

MOST_LINES = 100
"""What every account has (section 10); TWS says 101 where its own windows take a part."""
LIVE, DELAYED = 1, 3
SECTYPE2GENERIC: Mapping[str, str] = {"STK": "233", "FUT": "588"}
"""Extra ticks that are safe for the type (section 15.1): RT volume, open interest."""

TOO_MANY_LINES = 101
SHOWN_DELAYED = 10167
IN_USE_ELSEWHERE = 10197
INTERRUPTED = 10182
BAD_REQUEST = 321


class MarketData:
    """All boards of one gateway. ``on_tick`` gets fresh ticks, ``on_price`` each change of a price.

    ``data_type`` is TWS's: 1 live only, 3 delayed where there is no live. ``in_use`` tells the keys that are held,
    ordered or used by a strategy.
    """

    def __init__(
        self,
        *,
        wire: Callable[[], Wire],
        contracts: Contracts,
        clock: Clock,
        timing: Timing,
        zone: ZoneInfo,
        gateway_name: str,
        synthetic_percent: float,
        data_type: int,
        on_tick: Callable[[TickData], None],
        on_price: Callable[[str], None],
        log: Callable[[str], None],
        in_use: Callable[[], set[Key]],
    ) -> None:
        self._wire = wire
        self._contracts = contracts
        self._clock = clock
        self._timing = timing
        self._data_type = data_type
        self._log = log
        self._in_use = in_use
        self._patience = Patience(timing.repeat_line, clock)
        self._denials = Patience(timing.repeat_line, clock, growing=True)
        self._retries = Patience(timing.repeat_line, clock)
        self._tape = Tape(
            contracts=contracts,
            clock=clock,
            timing=timing,
            zone=zone,
            gateway_name=gateway_name,
            synthetic_percent=synthetic_percent,
            on_tick=on_tick,
            on_price=on_price,
        )
        self._lines: dict[Key, LineStream] = {}
        self._depths = Depths(wire, self._tape.touch, log)
        self._channel = Channel()
        self._missing: dict[Key, bool] = {}
        self._limit = MOST_LINES
        self._said: set[str] = set()
        self._count = 0
        self._typed: Wire | None = None
        """The connection that was told our data type."""
        self._tasks: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ what is known

    def board(self, symbol: str, exchange: Any) -> Board | None:
        """Return what is known of an instrument's market."""
        line = self._lines.get(self._contracts.key_of(symbol, exchange))
        return line.board if line else None

    @property
    def lines_used(self) -> int:
        """Market data lines that are open at TWS."""
        return sum(line.alive for line in self._lines.values())

    @property
    def lines_most(self) -> int:
        """Market data lines that may be open at once, as far as TWS has told."""
        return self._limit

    def segment_of(self, board: Board) -> Segment:
        """The segment that an instrument trades in now."""
        return self._tape.segment_of(board)

    def delayed(self, board: Board) -> bool:
        """Tell whether a board's prices are delayed, or the channel that should renew them is down."""
        line = self._lines.get(board.instrument.key)
        silent = line is not None and (line.broken or line.denied)
        return board.delayed or silent or not self._channel.serves(board.instrument)

    # ------------------------------------------------------------------ following

    async def follow(self, wanted: Iterable[Key], *, show: bool) -> None:
        """Begin to follow instruments: contract, then its line, then depth. Raises :class:`BrokerError`.

        What could be asked is followed also where something else could not.
        """
        keys = list(dict.fromkeys(wanted))
        try:
            await self._contracts.ensure(keys)
        finally:
            for key in keys:
                self._follow(key, show)
            if show:
                self._depths.arrange(self._lines.values())

    def _follow(self, key: Key, show: bool) -> None:
        instrument = self._contracts.get(*key)
        if instrument is None:
            if self._contracts.is_missing(*key):
                self._say_missing(key, show)
            return
        self._missing.pop(key, None)
        line = self._lines.get(instrument.key)
        if line is None:
            line = self._lines[instrument.key] = LineStream(self, self._tape, Board(instrument))
            line.generic = SECTYPE2GENERIC.get(instrument.contract.secType, "")
        self._count += 1
        line.asked = self._count
        newly = show and not line.board.shown
        line.board.shown = line.board.shown or show
        if not line.alive:
            if show or not line.denied:  # whoever only needs it in passing asks not every few seconds
                self._open(line)
        elif newly:
            self._tape.touch(line)

    def _say_missing(self, key: Key, show: bool) -> None:
        if show or key not in self._missing:
            name = f"{key[0]}.{key[1].value}"
            if self._contracts.seen_before(*key):
                if self._patience.may_say(f"missing-{name}"):
                    self._log(_("TWS暂时找不到合约{}（可能正在每日重置），稍后自动重试").format(name))
            else:
                self._log(_("找不到合约{}（已在{}查询），请检查代码和交易所").format(name, "TWS"))
        self._missing[key] = show or self._missing.get(key, False)

    async def resubscribe(self) -> None:
        """Open every line again, on a new connection or after 1101; ask again for what was missing.

        Raises :class:`BrokerError`.
        """
        self._channel.renew()
        self._depths.close_all()
        self._limit = MOST_LINES
        used = self._used()
        lines = sorted(self._lines.values(), key=lambda line: (line.key in used, line.asked), reverse=True)
        for line in lines:
            self._close(line)
            line.delayed_tried = line.denied = line.room_made = False
            line.board.clear_quote()
        for line in lines[: self._limit]:
            self._open(line)
        self._depths.arrange(self._lines.values())
        with contextlib.suppress(BrokerError):  # the keeper calls it again
            await self.tend()

    async def tend(self) -> None:
        """Try again what failed for the time being: lines that ended, instruments that TWS did not know.

        For a keeper, every half minute or so. Raises :class:`BrokerError`.
        """
        for line in list(self._lines.values()):
            # A right may also be denied in passing, while IBKR's servers reset.
            is_due = line.broken or (line.denied and not line.alive and self._retries.may_say(str(line.key)))
            if is_due and self._channel.up:
                self._open(line)
        await self._contracts.renew()
        for show in (True, False):
            again = [key for key, shown in self._missing.items() if shown is show and self._contracts.seen_before(*key)]
            if again:
                await self.follow(again, show=show)

    async def refresh(self, symbol: str, exchange: Any) -> Board | None:
        """Return a board that has heard from TWS, if it speaks within ``timing.book_wait``.

        A stream that is silent has nothing new to say, so a board that is followed needs no question. Raises
        :class:`BrokerError`.
        """
        await self.follow([(symbol, exchange)], show=False)
        line = self._lines.get(self._contracts.key_of(symbol, exchange))
        if line is None:
            return None
        if line.alive and not line.heard.is_set():
            with contextlib.suppress(asyncio.TimeoutError):  # without any price the caller sees a board with zeros
                await within(self._timing.book_wait, line.heard.wait())
        return line.board

    def close(self) -> None:
        """End what still waits; the connection is closed by who owns it."""
        for task in self._tasks:
            task.cancel()
        self._tape.clear()
        for line in self._lines.values():
            line.alive = False

    # ------------------------------------------------------------------ the budget of lines

    def _used(self) -> set[Key]:
        return {self._contracts.key_of(*key) for key in self._in_use()}

    def _open(self, line: LineStream) -> None:
        """Ask for a line, making room if there is none. Raises :class:`ConnectionFailed`."""
        if self.lines_used >= self._limit and not self._make_room(line):
            return
        wire = self._wire()
        if self._typed is not wire:
            self._typed = wire
            wire.post(lambda: wire.client.reqMarketDataType(self._data_type), "reqMarketDataType")
        self._request(line, wire)
        self._later(self._tape.settle(line))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _request(self, line: LineStream, wire: Wire) -> None:
        contract = line.board.instrument.contract
        line.wire, line.req_id = wire, wire.next_id()
        wire.listen(line.req_id, line)
        wire.post(
            lambda: wire.client.reqMktData(line.req_id, contract, line.generic, False, False, []), contract.symbol
        )
        line.alive, line.broken = True, False

    def _close(self, line: LineStream, *, cancel: bool = True) -> None:
        wire, req_id = line.wire, line.req_id
        was_open = line.alive
        line.alive = line.broken = False
        if wire is None:
            return
        wire.forget(req_id)
        if cancel and was_open and wire.connected:
            wire.post(lambda: wire.client.cancelMktData(req_id), "cancelMktData")

    def _make_room(self, line: LineStream) -> bool:
        """Close the line that is needed least; a line for what is in use may also cost one that was asked for later."""
        others = [other for other in self._lines.values() if other.alive and other is not line]
        used = self._used()
        free = [other for other in others if other.key not in used]
        if not free:
            self._say_no_room(line)
            return False
        victim = min(free, key=lambda other: other.asked)
        self._depths.close(victim.key)
        self._close(victim)
        del self._lines[victim.key]
        self._log(
            _("行情订阅已达{}个上限，为{}取消了最久未用的{}；需要时请重新订阅").format(
                self._limit, line.board.instrument.vt_symbol, victim.board.instrument.vt_symbol
            )
        )
        return True

    def _say_no_room(self, line: LineStream) -> None:
        if self._patience.may_say(f"no-room-{line.board.instrument.vt_symbol}"):
            self._log(
                _(
                    "行情订阅已达{}个上限且均在使用，{}没有行情；请减少持仓或策略用到的合约，或在盈透购买行情额度"
                ).format(self._limit, line.board.instrument.vt_symbol)
            )

    # ------------------------------------------------------------------ what TWS says about lines

    def on_line_error(self, line: LineStream, code: int, text: str) -> None:
        """A code under a line's request id."""
        try:
            self._on_code(line, code, text)
        except BrokerError:
            line.alive, line.broken = False, True  # the connection went in this moment: the next one opens all lines

    def _on_code(self, line: LineStream, code: int, text: str) -> None:
        if code == SHOWN_DELAYED:
            line.board.delayed = True
            self._say_delayed(line)
        elif code == TOO_MANY_LINES:
            self._on_too_many(line)
        elif code in NO_LIVE_DATA:
            self._on_no_live(line, code, text)
        elif code == IN_USE_ELSEWHERE:
            self._close(line)
            line.broken = True
            if self._patience.may_say("in-use-elsewhere"):
                self._log(words_for(code, text))
        elif code == INTERRUPTED:
            self._again(line)
        elif code == BAD_REQUEST and line.generic:
            line.generic = ""  # the extra ticks are wrong for this type: do without them
            self._again(line)
        elif is_notice(code):
            self._say(line, code, _("{}：{}"), text)
        else:
            self._close(line, cancel=False)
            line.broken = True
            self._say(line, code, _("{}的行情中断，稍后自动重试：{}"), text)

    def _say(self, line: LineStream, code: int, sentence: str, text: str) -> None:
        name = line.board.instrument.vt_symbol
        if self._patience.may_say(f"{code}-{name}"):
            self._log(sentence.format(name, words_for(code, text)))

    def _again(self, line: LineStream) -> None:
        self._close(line, cancel=False)
        self._request(line, self._wire())

    def _on_too_many(self, line: LineStream) -> None:
        """TWS's own windows use lines, too: what is open now is what we may have."""
        self._close(line, cancel=False)
        if line.room_made:
            self._say_no_room(line)
            return
        self._limit = max(1, self.lines_used)
        line.room_made = True
        self._open(line)

    def _on_no_live(self, line: LineStream, code: int, text: str) -> None:
        if self._data_type == LIVE or line.delayed_tried:
            self._close(line, cancel=False)
            name = line.board.instrument.vt_symbol
            if not line.denied:
                self._denials.forget(name)
            line.denied = True
            if self._denials.may_say(name):
                self._log(_("{}没有行情：{}").format(name, words_for(code, text)))
            return
        line.delayed_tried = True
        wire = self._wire()
        wire.post(lambda: wire.client.reqMarketDataType(DELAYED), "reqMarketDataType")
        self._again(line)
        self._say_delayed(line)

    def _say_delayed(self, line: LineStream) -> None:
        name = line.board.instrument.vt_symbol
        if name not in self._said:
            self._said.add(name)
            self._log(_("{}没有实时行情权限，显示延迟行情（约15分钟）；请订阅实时行情后再用于交易").format(name))

    # ------------------------------------------------------------------ the channel

    def on_link(self, up: bool) -> None:
        """TWS lost its own link to IBKR (1100, 2110), or has it back (1101, 1102)."""
        self._channel.up = up

    def on_farm(self, code: int, text: str) -> None:
        """A market data farm is broken or well again (2103, 2104)."""
        self._channel.on_farm(code, text)

    def lose(self) -> None:
        """The connection to TWS is gone: a book that nobody renews must not stay on screen."""
        self._channel.up = False
        self._depths.close_all()
        for line in self._lines.values():
            line.alive = False
            line.board.clear_quote()
            self._tape.touch(line)
