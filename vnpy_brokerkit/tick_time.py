"""Where ticks stand in time, so that the bars which vn.py makes of them are those of the exchange.

vn.py's BarGenerator opens a bar with the first tick of a minute, at that tick's last price, whatever made the tick, and
counts its volume by the differences of the day's (vnpy-engine, trap 11). Three things would make its bars wrong:

- A change of the book, at the beginning of a minute or in a lunch break, would open a bar at the price of an earlier
  minute, or one in which nothing traded. So a tick stays in the minute of the trade whose price it shows: it moves
  forward with the clock up to that minute's end, and no further. When it arrived is in ``localtime``.
- A trade that counts for the volume and sets no price (odd lots, prior reference prices) would do the same. Its volume
  is shown with the next trade that sets one, or after a minute, unless the minute of the last one still runs.
- A volume that is counted from zero again is taken for no change: what had traded by the first tick would be lost. So
  a tick without any volume comes before it.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from vnpy.trader.object import TickData

LAST_MICROSECOND = 999_999
CLOSE = timedelta(seconds=60)
"""A broker's time of a trade that is further from its arrival is not believed to be that of the trade; and so long does
volume wait for a price."""

NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""When the trade was that set a previous close, or a middle of the quote, as the last price: there is none yet."""


@dataclass
class TickTime:
    """The place of one instrument's ticks. ``datetime`` of what is handed in is when its news is from, aware."""

    time: datetime | None = None
    """Of the newest tick; it never goes back."""
    traded: datetime | None = None
    """Of the trade that set the newest tick's price."""
    trade: datetime | None = None
    """The same as the broker told it."""
    is_told: bool = False
    """The broker tells the times of trades, and they can be true."""
    price: float = 0.0
    volume: float = 0.0
    turnover: float = 0.0
    anew: bool = False
    waiting: datetime | None = None
    """Since when volume waits for the trade that sets the next price, or for its time."""

    def begin(self) -> None:
        """The volume was counted from zero again."""
        self.anew = True
        self.waiting = None

    def place(self, tick: TickData, trade: datetime | None) -> list[TickData]:
        """Give a tick its time, and its volume where that has to wait; return what goes out, in order.

        ``trade`` is when the trade was that set the last price, as the broker tells it; ``None`` where it does not,
        :data:`NEVER` where no trade has set it.
        """
        at = tick.datetime
        is_news = self._is_news(tick, trade)
        if is_news or self.traded is None:
            can_be = trade is not None and abs(at - trade) <= CLOSE
            # The first price may be old, and its time with it: until another comes, that is believed.
            self.is_told = can_be or (self.traded is None and trade is not None)
            # A price may come before the time of its trade does: an old time is that of an earlier one.
            self.traded = trade if trade is not None and can_be and trade != self.trade else at
            self.trade = trade
        end = self.traded.replace(second=59, microsecond=LAST_MICROSECOND)
        tick.datetime = min(at, end).astimezone(at.tzinfo)
        if self.time is not None:
            tick.datetime = max(self.time, tick.datetime)
        self.time = tick.datetime
        self.price = tick.last_price
        if not is_news and at > end and 0 < tick.volume != self.volume:
            self.waiting = self.waiting or at
            tick.volume, tick.turnover = self.volume, self.turnover
            return [tick]
        self.waiting = None
        self.volume, self.turnover = tick.volume, tick.turnover
        anew, self.anew = self.anew, False
        return [_uncounted(tick), tick] if anew and tick.volume else [tick]

    def _is_news(self, tick: TickData, trade: datetime | None) -> bool:
        """Tell whether a tick brings a trade that set its price."""
        if self.traded is None or tick.last_price != self.price:
            return True
        counted = self.volume if tick.volume >= self.volume else 0.0  # a smaller volume is that of a new count
        if self.is_told and trade is not None:
            waited = self.waiting is not None and tick.datetime - self.waiting >= CLOSE
            return tick.volume > counted and (trade != self.trade or waited)
        return tick.volume > counted


def _uncounted(tick: TickData) -> TickData:
    """The tick that stands before the first one of a new count: the same, with nothing traded yet."""
    first = copy(tick)
    first.extra = dict(tick.extra or {})
    first.volume = first.turnover = first.last_volume = 0.0
    return first
