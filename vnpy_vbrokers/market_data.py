"""Quotes: push first, batched polling where there is no push and as the check on it.

One :class:`Board` per instrument merges what arrives (a quote push carries few fields, a book push one side: reference
"vbrokers-openapi", section 13.4) and gives out ticks whose time only moves forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange
from vnpy.trader.object import TickData

from vnpy_brokerkit.aliases import respelled
from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import InvalidRequest, PermissionDenied, Rejected
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.price_grid import align
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.trading_hours import Region, Segment, segment

from .board import DEPTH, Board, Key, deepen
from .contracts import SUBSCRIBE, TOPIC_QUOTE, Contracts, Rows
from .spelling import MARKETS, from_code
from .wire.push import BookSide, BookUpdate, QuoteUpdate
from .wire.schema import BasicQotRow, parse_order_book

__all__ = ["Board", "Key", "MarketData"]

ORDER_BOOK = "/hq/OrderBook"
MOST_SUBSCRIBED = 200
"""Securities that the Gateway subscribes at once (reference section 14); more are polled."""
TOPIC_BOOK = 17
TOPICS_NIGHT = (35, 36)
"""By analogy the US night session's quote and book, unconfirmed (section 6.8): asked for, and done without."""
TOPICS_US_DEPTH = (26, 25)
"""TotalView, ArcaBook: more than one US level needs one of these rights (section 6.8)."""


class MarketData:
    """All boards of one gateway. ``on_tick`` gets fresh ticks, ``on_price`` every change of a last price."""

    def __init__(
        self,
        *,
        read: Callable[[str, dict[str, Any]], Awaitable[Any]],
        contracts: Contracts,
        clock: Clock,
        timing: Timing,
        zone: ZoneInfo,
        gateway_name: str,
        synthetic_percent: float,
        on_tick: Callable[[TickData], None],
        on_price: Callable[[str], None],
        log: Callable[[str], None],
    ) -> None:
        self._read = read
        self._contracts = contracts
        self._clock = clock
        self._timing = timing
        self._zone = zone
        self._gateway_name = gateway_name
        self._reach = Decimal(str(synthetic_percent)) / 100
        self._on_tick = on_tick
        self._on_price = on_price
        self._log = log
        self._boards: dict[Key, Board] = {}
        self._missing: set[Key] = set()
        self._limit_told = False
        self._patience = Patience(timing.repeat_line, clock, growing=True)
        self._subscribing = asyncio.Lock()
        """Held while something is being subscribed: nothing is asked for twice, and the limit holds."""
        self._us_depth = True
        """Whether the account may see US depth; asked once."""

    def board(self, symbol: str, exchange: Exchange) -> Board | None:
        """Return what is known of an instrument's market."""
        return self._boards.get((symbol, exchange))

    # ------------------------------------------------------------------ following

    async def follow(self, wanted: Iterable[Key], *, show: bool) -> None:
        """Begin to follow instruments: contract, first quote, then subscription. Raises :class:`BrokerError`."""
        keys = list(dict.fromkeys(wanted))
        rows = await self._contracts.ensure(keys)
        fresh: list[Board] = []
        for key in keys:
            instrument = self._contracts.get(*key)
            if instrument is None:
                self._say_missing(key, show)
                continue
            board = self._boards.get(key)
            if board is None:
                board = self._boards[key] = Board(instrument)
                fresh.append(board)
            elif show and not board.shown and board.price():
                board.shown = True
                self._emit(board)
            board.shown = board.shown or show
        unseen = [(b.instrument.symbol, b.instrument.exchange) for b in fresh if b.key not in rows]
        if unseen:
            rows = {**rows, **await self._contracts.quotes(unseen)}
        self.take_rows({key: row for key, row in rows.items() if key in self._boards})
        await self._subscribe([board for board in fresh if board.instrument.quoted])

    @property
    def subscribed(self) -> int:
        """Securities that the Gateway pushes."""
        return sum(board.pushed for board in self._boards.values())

    @property
    def unsubscribed(self) -> bool:
        """Whether polling alone brings the quotes of something."""
        return any(board.instrument.quoted and not board.pushed for board in self._boards.values())

    async def resubscribe(self) -> None:
        """Subscribe everything again: the Gateway forgets when its session ends (section 6.8)."""
        for board in self._boards.values():
            board.pushed = False
        await self.subscribe_rest()

    async def subscribe_rest(self) -> None:
        """Subscribe what is not: the Gateway refused it, or its subscriptions were used up."""
        boards = self._boards.values()
        await self._subscribe([board for board in boards if board.instrument.quoted and not board.pushed])

    async def _subscribe(self, boards: list[Board]) -> None:
        async with self._subscribing:
            await self._subscribe_now([board for board in boards if not board.pushed])

    async def _subscribe_now(self, boards: list[Board]) -> None:
        room = max(0, MOST_SUBSCRIBED - self.subscribed)
        if len(boards) > room and not self._limit_told:
            self._limit_told = True
            self._log(_("订阅已达{}个上限，其余合约改用轮询，没有买卖五档").format(MOST_SUBSCRIBED))
        boards = await self._granted(boards[:room], TOPIC_QUOTE)
        if not boards:
            return
        await self._granted(boards, TOPIC_BOOK)
        for board in boards:
            board.pushed = True
        american = [b.instrument.security for b in boards if b.instrument.market.region is Region.US]
        if american:
            self._us_depth = self._us_depth and await self._try_topics(american, TOPICS_US_DEPTH, every=False)
            await self._try_topics(american, TOPICS_NIGHT, every=True)

    async def _granted(self, boards: list[Board], topic: int) -> list[Board]:
        """Subscribe a topic; return what the Gateway took.

        It may refuse for want of a right to one market, or because other programs have used up the subscriptions that
        all share (section 6.8). Quotes are then polled: that must not keep the rest from working.
        """
        if not boards:
            return []
        try:
            await self._read(SUBSCRIBE, {"topicId": topic, "security": [board.instrument.security for board in boards]})
        except (PermissionDenied, InvalidRequest, Rejected) as error:
            codes = {board.instrument.market.code for board in boards}
            if len(codes) > 1:
                parts = [[board for board in boards if board.instrument.market.code == code] for code in sorted(codes)]
                return [board for part in parts for board in await self._granted(part, topic)]
            (code,) = codes
            if self._patience.may_say(f"{topic}-{code}"):
                text = (
                    _("{}的行情订阅被拒绝（{}），改用轮询，将自动重试")
                    if topic == TOPIC_QUOTE
                    else _("{}的买卖盘订阅被拒绝（{}），没有五档推送")
                )
                self._log(text.format(_(MARKETS[code].name), error.text))
            return []
        for code in {board.instrument.market.code for board in boards}:
            self._patience.calm(f"{topic}-{code}")  # refused again one day, it is said again
        return boards

    async def _try_topics(self, securities: list[dict[str, Any]], topics: tuple[int, ...], *, every: bool) -> bool:
        """Subscribe what the account may not have: all topics or the first that is granted. Return whether one was."""
        granted = False
        for topic in topics:
            try:
                await self._read(SUBSCRIBE, {"topicId": topic, "security": securities})
            except (PermissionDenied, InvalidRequest, Rejected):
                continue  # without this right the quotes simply have less: not worth a line
            granted = True
            if not every:
                break
        return granted

    def _say_missing(self, key: Key, show: bool) -> None:
        if show or key not in self._missing:
            symbol, exchange = key
            self._log(
                _("找不到合约{}.{}（已在{}查询），请检查代码和交易所").format(symbol, exchange.value, _("华盛通行情"))
            )
        self._missing.add(key)

    # ------------------------------------------------------------------ what arrives

    def on_quote(self, news: QuoteUpdate) -> None:
        """A pushed quote."""
        board = self._of(news.security.code)
        if board is None or board.is_late("quote", news.notify_time):
            return
        volume, is_late = board.counted(news, news.volume)
        if is_late:
            return
        board.push_at = self._clock.monotonic()
        if news.last_price and news.last_price != board.last:
            self._contracts.follow_price(*board.key, news.last_price)
        self._apply(board, news, volume, self._stamp(news.notify_time))

    def on_book(self, news: BookUpdate) -> None:
        """A pushed side of the book: it replaces that side, and drops what it crosses on the other."""
        board = self._of(news.security.code)
        if board is None or board.is_late(news.side.name, news.notify_time):
            return
        board.push_at = self._clock.monotonic()
        if news.side is BookSide.BID:
            board.bids, other = deepen(news.levels, board.bids, bid=True), board.asks
            board.asks = tuple(ask for ask in other if not board.bids or ask.price > board.bids[0].price)
            half = bool(other) and not board.asks
        else:
            board.asks, other = deepen(news.levels, board.asks, bid=False), board.bids
            board.bids = tuple(bid for bid in other if not board.asks or bid.price < board.asks[0].price)
            half = bool(other) and not board.bids
        # A market that moved beyond its old book: the other side's frame is on its way.
        if board.shown and board.price() and not half:
            self._forward(board, self._stamp(news.notify_time))
            self._emit(board)

    def take_rows(self, rows: Rows) -> None:
        """Polled quotes: the truth where nothing was pushed, else ignored when older than what is known."""
        for key, row in rows.items():
            board = self._boards.get(key)
            instrument = self._contracts.get(*key)
            if board is None or instrument is None:
                continue
            board.instrument = instrument
            volume, is_late = board.counted(row, row.day_volume)
            if is_late:
                continue
            now = self._clock.now()
            stamp = board.traded_at(row) if board.time is None else now
            self._apply(board, row, volume, min(stamp, now) if stamp else now)

    def lose_push(self) -> None:
        """The push channel is gone: depth that nobody renews must not stay on screen."""
        for board in self._boards.values():
            board.bids = board.asks = ()
            if board.shown and board.price():
                self._forward(board, self._clock.now())
                self._emit(board)

    def _apply(self, board: Board, news: QuoteUpdate | BasicQotRow, volume: Decimal | None, stamp: datetime) -> None:
        before = board.face()
        board.merge(news, volume)
        board.traded = board.traded_at(news) or board.traded
        if volume is not None:
            board.day = board.traded.date() if board.traded else stamp.astimezone(board.zone).date()
        board.word_at = self._clock.monotonic()
        first = board.time is None
        if first or board.face() != before:
            self._forward(board, stamp)
            if board.shown and board.price():
                self._emit(board)
            self._on_price(board.instrument.vt_symbol)

    def _forward(self, board: Board, stamp: datetime) -> None:
        board.time = stamp if board.time is None else max(board.time, stamp)

    def _stamp(self, notify_ms: int) -> datetime:
        if notify_ms > 0:
            return datetime.fromtimestamp(notify_ms / 1000, timezone.utc)
        return self._clock.now()

    def _of(self, code: str) -> Board | None:
        try:
            return self._boards.get(from_code(code))
        except SymbolError:
            return None

    # ------------------------------------------------------------------ polling

    async def poll(self, *, everything: bool) -> bool:
        """Ask in batches for all boards, or for those that have been silent; return whether push seems stuck.

        Stuck: the broker shows new prices or volumes, and the channel has brought nothing for anybody. One symbol that
        is silent alone proves nothing: whether the quote topic covers extended hours is not known (section 6.8).
        """
        now = self._clock.monotonic()
        quiet = self._timing.quotes_check
        keys = [
            key
            for key, board in self._boards.items()
            if board.instrument.quoted
            and (everything or not board.pushed or now - max(board.push_at, board.word_at) >= quiet)
        ]
        if not keys:
            return False
        before = {key: (self._boards[key].last, self._boards[key].volume) for key in keys}
        self.take_rows(await self._contracts.quotes(keys))
        if any(board.pushed and now - board.push_at < quiet for board in self._boards.values()):
            return False
        return any(
            self._boards[key].pushed and (self._boards[key].last, self._boards[key].volume) != face
            for key, face in before.items()
        )

    async def fetch_book(self, symbol: str, exchange: Exchange) -> None:
        """Ask for one book: for a fresh subscription whose book was not pushed."""
        board = self._boards.get((symbol, exchange))
        if board is None or board.bids or board.asks:
            return
        params: dict[str, Any] = {"security": board.instrument.security, "mktTmType": 1}
        book = parse_order_book(await self._read(ORDER_BOOK, params))
        if board.bids or board.asks:
            return  # pushed meanwhile, and newer
        board.bids, board.asks = book.bids[:DEPTH], book.asks[:DEPTH]
        if (board.bids or board.asks) and board.shown and board.price():
            self._forward(board, self._clock.now())
            self._emit(board)

    async def refresh(self, symbol: str, exchange: Exchange) -> Board | None:
        """Return a board with a word of the broker that is at most a few seconds old."""
        await self.follow([(symbol, exchange)], show=False)
        board = self._boards.get((symbol, exchange))
        if board and self._clock.monotonic() - board.word_at > self._timing.quotes_poll:
            self.take_rows(await self._contracts.quotes([(symbol, exchange)]))
        return board

    def segment_of(self, board: Board) -> Segment:
        """The segment an instrument trades in now: the broker's word, else the calendar's label (design, section 5).

        The broker has words for the US day alone (section 4.3): elsewhere its "regular" says nothing of auctions.
        """
        region, now = board.instrument.market.region, self._clock.now()
        if region is not Region.US and board.segment is not Segment.CLOSED and segment(region, now) is Segment.AUCTION:
            return Segment.AUCTION
        return segment(region, now, broker=board.segment)

    # ------------------------------------------------------------------ ticks

    def _emit(self, board: Board) -> None:
        assert board.time is not None
        # The name may have been learned since: quotes carry none.
        board.instrument = instrument = self._contracts.get(*board.key) or board.instrument
        tick = TickData(
            gateway_name=self._gateway_name,
            symbol=instrument.symbol,
            exchange=instrument.exchange,
            datetime=board.time.astimezone(self._zone),
            name=instrument.name or instrument.symbol,
            volume=float(board.volume),
            turnover=float(board.turnover),
            last_price=float(board.price()),
            last_volume=float(board.last_volume),
            open_price=float(board.open),
            high_price=float(board.high),
            low_price=float(board.low),
            pre_close=float(board.prev_close),
            localtime=self._clock.now().astimezone(self._zone),
        )
        extra: dict[str, Any] = {"segment": self.segment_of(board).value, "delayed": False}
        for side, levels in (("bid", board.bids), ("ask", board.asks)):
            for number, level in enumerate(levels[:DEPTH], 1):
                setattr(tick, f"{side}_price_{number}", float(level.price))
                setattr(tick, f"{side}_volume_{number}", float(level.volume))
        if min(len(board.bids), len(board.asks)) < DEPTH:
            # vn.py prices a local stop by limit_up/limit_down, or by level five: without either it would send 0.
            last, day = board.price(), self._clock.now().date()
            above, below = last * (1 + self._reach), last * (1 - self._reach)
            tick.limit_up = float(align(above, instrument.tick_at(above, day), up=False))
            tick.limit_down = float(align(below, instrument.tick_at(below, day), up=True))
            extra["synthetic_limit"] = True
        tick.extra = extra
        if board.repeats(tick):
            return
        for one in board.stamps.place(tick, board.traded):
            self._on_tick(one)
            for alias in self._contracts.aliases(instrument):
                self._on_tick(respelled(one, alias))
