"""What is known of one instrument's market, and what news of it changes (reference "vbrokers-openapi", 13.4)."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Exchange
from vnpy.trader.object import TickData

from vnpy_brokerkit.tick_time import TickTime
from vnpy_brokerkit.trading_hours import Segment

from .instruments import Instrument
from .spelling import TIME2SEGMENT
from .wire.push import QuoteUpdate
from .wire.schema import BasicQotRow, BookLevel
from .wire.values import parse_timestamp_text

Key = tuple[str, Exchange]
ZERO = Decimal(0)
DEPTH = 5
LATER: frozenset[tuple[Segment, Segment]] = frozenset(
    {
        (Segment.PRE, Segment.REGULAR),
        (Segment.PRE, Segment.POST),
        (Segment.REGULAR, Segment.POST),
        (Segment.REGULAR, Segment.NIGHT),
        (Segment.POST, Segment.NIGHT),
        (Segment.NIGHT, Segment.PRE),
        (Segment.NIGHT, Segment.REGULAR),
    }
)
"""Which part of a US day follows which, without the date: the night belongs to two."""

SAME_NEWS = timedelta(seconds=1)


@dataclass
class Board:
    """What is known of one instrument's market. Prices in its currency, volumes in shares; zero: not known."""

    instrument: Instrument
    shown: bool = False
    """Somebody subscribed it: ticks go to the engine. Otherwise it serves the profit of a position."""
    pushed: bool = False
    """It is among the Gateway's subscriptions."""
    open: Decimal = ZERO
    high: Decimal = ZERO
    low: Decimal = ZERO
    last: Decimal = ZERO
    prev_close: Decimal = ZERO
    volume: Decimal = ZERO
    turnover: Decimal = ZERO
    last_volume: Decimal = ZERO
    bids: tuple[BookLevel, ...] = ()
    asks: tuple[BookLevel, ...] = ()
    given: TickData | None = None
    """The newest tick that was made of it, before it was placed in time."""
    time: datetime | None = None
    """Of the newest news; it only moves forward."""
    stamps: TickTime = field(default_factory=TickTime)
    traded: datetime | None = None
    """When the trade was that set the last price, in the exchange's zone."""
    day: date | None = None
    """The exchange's date that ``volume`` is counted on."""
    segment: Segment | None = None
    """The broker's own word, where it gave one."""
    word_at: float = float("-inf")
    """Monotonic second of the broker's last word about this instrument."""
    push_at: float = float("-inf")
    notified: dict[str, int] = field(default_factory=dict)
    """Epoch milliseconds of the newest push of each kind: an older one that comes later is dropped."""

    def repeats(self, tick: TickData) -> bool:
        """Tell whether a tick says nothing that the one before has not said, within the same second.

        The Gateway pushes one change under several topics, each with all that it knows (section 6).
        """
        before, self.given = self.given, tick
        if before is None or not timedelta(0) <= tick.datetime - before.datetime < SAME_NEWS:
            return False
        again = copy(before)
        again.datetime, again.localtime = tick.datetime, tick.localtime
        if again != tick:
            return False
        self.given = before
        return True

    def is_late(self, kind: str, notify_ms: int) -> bool:
        """Tell whether a push was overtaken by a newer one of its kind."""
        if notify_ms and notify_ms < self.notified.get(kind, 0):
            return True
        self.notified[kind] = notify_ms
        return False

    def merge(self, news: QuoteUpdate | BasicQotRow, volume: Decimal | None) -> None:
        """Take over what the news says; what it does not say stays, unless another count of the day began."""
        if volume is not None and volume < self.volume:
            self.stamps.begin()
            self.open = self.high = self.low = self.volume = self.turnover = ZERO
        self.open = news.open_price or self.open
        self.high = news.high_price or self.high
        self.low = news.low_price or self.low
        self.last = news.last_price or self.last
        self.prev_close = news.last_close_price or self.prev_close
        if volume is not None:
            self.last_volume = max(volume - self.volume, ZERO) if self.volume or self.stamps.anew else ZERO
            self.volume = volume
        self.turnover = news.turnover or self.turnover
        said = TIME2SEGMENT.get(news.mkt_tm_type or 0)  # 0 or nothing: the broker is silent (section 4.3)
        if news.is_suspended:
            self.segment = Segment.CLOSED
        else:
            self.segment = said

    @property
    def zone(self) -> ZoneInfo:
        """The exchange's."""
        return ZoneInfo(self.instrument.market.zone)

    @property
    def key(self) -> Key:
        return self.instrument.symbol, self.instrument.exchange

    def price(self) -> Decimal:
        """The last price, or the previous close where nothing traded yet."""
        return self.last or self.prev_close

    def counted(self, news: QuoteUpdate | BasicQotRow, volume: Decimal | None) -> tuple[Decimal | None, bool]:
        """Return the day's volume that news tells (``None``: nothing), and whether the news is late.

        A push leaves zeros out: on a new date, without a price of the day, nothing has traded yet.
        """
        if volume is None and self.volume and not (news.open_price or news.high_price) and self._begins(news):
            return ZERO, False
        is_late = volume is not None and volume < self.volume and not self._begins(news)
        return volume, is_late or self._is_of_the_evening(news)

    def _begins(self, news: QuoteUpdate | BasicQotRow) -> bool:
        """A smaller volume begins a new count on a later date, and in a later part of the same US day or its night.

        Whether the broker counts extended hours with the regular ones is not documented (section 6.1).
        """
        traded = self.traded_at(news)
        if traded and self.day and traded.date() > self.day:
            return True
        told = TIME2SEGMENT.get(news.mkt_tm_type or 0)
        return told is not None and self.segment is not None and (self.segment, told) in LATER

    def _is_of_the_evening(self, news: QuoteUpdate | BasicQotRow) -> bool:
        """The night has begun, and this is still of the hours before: both may come under topics of their own."""
        told = TIME2SEGMENT.get(news.mkt_tm_type or 0)
        if self.segment is not Segment.NIGHT or told not in (Segment.REGULAR, Segment.POST) or not self.traded:
            return False
        traded = self.traded_at(news)
        return traded is not None and traded < self.traded

    def traded_at(self, news: QuoteUpdate | BasicQotRow) -> datetime | None:
        """When the last trade was, in the exchange's zone."""
        return parse_timestamp_text(news.trade_time, self.zone)

    def face(self) -> tuple[object, ...]:
        """What makes a new tick: everything that is shown, depth aside."""
        return (
            self.open,
            self.high,
            self.low,
            self.last,
            self.prev_close,
            self.volume,
            self.turnover,
            self.segment,
        )


def deepen(levels: tuple[BookLevel, ...], before: tuple[BookLevel, ...], *, bid: bool) -> tuple[BookLevel, ...]:
    """Return a side after a push of it: a best price alone keeps the depth that a depth topic showed behind it."""
    if len(levels) == 1 and len(before) > 1:
        best = levels[0].price
        levels += tuple(level for level in before if (level.price < best if bid else level.price > best))
    return levels[:DEPTH]
