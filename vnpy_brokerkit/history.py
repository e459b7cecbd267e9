"""What both brokers' bars share: one call of ``query_history``, and what failed ones leave for the next.

A download is whole or it raises. What it has read until then is kept, so that the next call goes on from there. vn.py
hands a request and nothing else to whoever reads bars; what belongs to one call (its progress, its patience, its parts)
therefore travels in the context of the call's task, see :func:`current`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from vnpy.trader.constant import Interval
from vnpy.trader.object import BarData, HistoryRequest

from .clock import Clock
from .errors import BrokerError, ConnectionFailed, HistoryError, TimedOut
from .i18n import _

if TYPE_CHECKING:
    from .async_gateway import AsyncGateway

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds without progress after which a download gives up, unless the gateway's Timing says otherwise."""
SAY_EVERY = 10.0
"""Seconds between two lines about a download's progress."""
TRY_AGAIN = 1.0
"""Seconds between two tries while the connection is away."""
MOST_KEPT = 500_000
"""Bars that are kept of all failed downloads together; the last one's are kept whatever their number."""
KEPT_FOR = 24 * 3600.0
"""Seconds for which they are kept."""


class UnknownInstrument(HistoryError):
    """Raised when the broker does not know the instrument whose bars are asked for."""


class StrategyInitStopped(BaseException):
    """Raised through the start of a strategy whose bars cannot be had; its cause is the :class:`HistoryError`.

    vn.py's CTA engine catches every ``Exception`` of ``on_init`` and calls the strategy initialised all the same
    (vnpy_ctastrategy 1.4.1, ``_init_strategy``): it could then be started without its bars. This is none, so the start
    ends where it is; the strategy stays uninitialised and may be initialised again.
    """


def initialising_strategy() -> str:
    """Return the name of the strategy that one of vn.py's apps is initialising in this thread, else ``""``."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_init_strategy" and str(frame.f_globals.get("__name__")).startswith("vnpy_"):
            return str(frame.f_locals.get("strategy_name", "?"))
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar on its way: ``stamp`` is its key, ``begins`` and ``ends`` the time that it covers, all aware.

    Prices in the contract's currency, volume in shares or contracts, turnover in the currency.
    """

    stamp: datetime
    begins: datetime
    ends: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float


@dataclass(frozen=True)
class Asked:
    """The times of a request, aware: both ends belong to it; ``now`` is the moment of the call."""

    start: datetime
    end: datetime
    now: datetime

    @classmethod
    def of(cls, request: HistoryRequest, clock: Clock, zone: ZoneInfo) -> Asked:
        """Read a request: times without a zone are in ``zone``, vn.py's database zone; no end, or a later one, is now.

        An end at a midnight sharp is that instant, not the day that follows, as in vn.py's database.
        """

        def aware(at: datetime) -> datetime:
            return at if at.tzinfo else at.replace(tzinfo=zone)

        now = clock.now()
        end = min(aware(request.end), now) if request.end else now
        return cls(aware(request.start), end, now)


@dataclass
class Part:
    """Whole bars that have been read, and the spans of time that they are complete for."""

    bars: dict[datetime, Bar] = field(default_factory=dict)
    spans: list[tuple[datetime, datetime]] = field(default_factory=list)

    def add(self, bars: Iterable[Bar], begin: datetime, end: datetime) -> None:
        """Take bars that are all there are from ``begin`` to before ``end``; further ones are taken, too."""
        self.bars.update((bar.stamp, bar) for bar in bars)
        if begin >= end:
            return
        apart = [span for span in self.spans if span[1] < begin or end < span[0]]
        touching = [span for span in self.spans if not (span[1] < begin or end < span[0])]
        begin = min([begin, *(span[0] for span in touching)])
        end = max([end, *(span[1] for span in touching)])
        self.spans = sorted([*apart, (begin, end)])

    def below(self, until: datetime) -> datetime:
        """Return the instant from which on everything before ``until`` is there; ``until`` where nothing is."""
        return next((begin for begin, end in self.spans if begin < until <= end), until)

    def merge(self, other: Part) -> None:
        """Take another download's part of the same bars."""
        self.bars.update(other.bars)
        for begin, end in other.spans:
            self.add((), begin, end)


_gateways: list[weakref.ref[AsyncGateway]] = []


def note_gateway(gateway: AsyncGateway) -> None:
    """Remember a gateway of this process for the datafeeds, as long as somebody else holds it."""
    _gateways[:] = [known for known in _gateways if known() is not None]
    _gateways.append(weakref.ref(gateway))


def known_gateways() -> list[AsyncGateway]:
    """Return the gateways of this process, in the order in which they were made."""
    return [gateway for gateway in (known() for known in list(_gateways)) if gateway is not None]


Key = tuple[object, ...]
"""What bars are of one kind: instrument, interval, and every setting and date that changes their values."""


class Parts:
    """The parts that failed downloads left. Bounded in number and age. For the loop thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[Key, tuple[float, Part]] = {}

    def take(self, key: Key) -> Part:
        """Return what there is, and forget it; an empty part where there is nothing."""
        self._forget_old()
        _at, part = self._kept.pop(key, (0.0, Part()))
        return part

    def keep(self, key: Key, part: Part) -> None:
        """Keep a part, and let the oldest ones go where it gets too much."""
        if not part.spans:
            return
        part.merge(self.take(key))
        self._kept[key] = self._clock.monotonic(), part
        while len(self._kept) > 1 and sum(len(kept.bars) for _at, kept in self._kept.values()) > MOST_KEPT:
            self._kept.pop(next(iter(self._kept)))

    def _forget_old(self) -> None:
        since = self._clock.monotonic() - KEPT_FOR
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] >= since}


class Download:
    """One call of ``query_history``. Its loop moves it on; the caller's thread looks at :meth:`left` only."""

    def __init__(
        self,
        request: HistoryRequest,
        parts: Parts,
        clock: Clock,
        log: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        self.request = request
        self._parts = parts
        self._clock = clock
        self._log = log
        self._patience = patience
        self._moved: float | None = clock.monotonic()
        """When it last came on; None while it waits for its turn."""
        self._said = clock.monotonic()
        self._has_begun = False

    async def run(self, read: Callable[[HistoryRequest], Awaitable[list[BarData]]]) -> list[BarData]:
        """Read the bars with ``read``, in whose context :func:`current` is this download."""
        _current.set(self)
        return await read(self.request)

    # ------------------------------------------------------------------ progress

    def left(self) -> float:
        """Return how many seconds it may still go without progress."""
        moved = self._moved
        return self._patience if moved is None else self._patience - (self._clock.monotonic() - moved)

    def rest(self) -> None:
        """It waits for its turn behind other downloads: that is not standing still."""
        self._moved = None

    def wake(self, left: float) -> None:
        """It is its turn, with as much patience ``left`` as before."""
        self._moved = self._clock.monotonic() - (self._patience - left)

    def came(self, part: Part, down_to: datetime) -> None:
        """An answer came, and everything from ``down_to`` on is there now. A long download says so now and then."""
        self._has_begun = True
        now = self._moved = self._clock.monotonic()
        if now - self._said >= SAY_EVERY:
            self._said = now
            self._log(
                _("正在下载{}的历史数据：已读到{:%Y-%m-%d}，共{}根K线").format(
                    self.request.vt_symbol, down_to, len(part.bars)
                )
            )

    async def hold_out(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what ``ask`` returns, asked again while the connection is away.

        A connection that is lost on the way is waited for until the patience ends; where nothing has come yet there is
        nothing to save, and the caller is told at once, or after one answer more that does not come. Raises
        :class:`BrokerError`.
        """
        late = 0
        while True:
            try:
                return await ask()
            except (ConnectionFailed, TimedOut) as error:
                late += isinstance(error, TimedOut)
                once_more = self._has_begun or (isinstance(error, TimedOut) and late < 2)
                if not once_more or self.left() <= TRY_AGAIN:
                    raise
            await self._clock.sleep(TRY_AGAIN)

    # ------------------------------------------------------------------ parts

    @contextmanager
    def part(self, key: Key) -> Iterator[Part]:
        """The part that an earlier download left, to be filled; kept for the next one when this one fails.

        A :class:`BrokerError` inside becomes a :class:`HistoryError` about the request's vt_symbol.
        """
        part = self._parts.take(key)
        try:
            yield part
        except BrokerError as error:
            self._parts.keep(key, part)
            raise self.failure(error, kept=bool(part.spans)) from None
        except BaseException:
            self._parts.keep(key, part)
            raise

    def failure(self, error: BrokerError, *, kept: bool = False) -> HistoryError:
        """Return the error for the caller: one line, and what to do."""
        text = error.text
        if not isinstance(error, HistoryError):
            text = _("历史数据下载失败，没有返回不完整的数据：{}").format(text)
        if kept:
            text = _("{}；已读到的部分已保留，再次下载将从中断处继续").format(text)
        kind = UnknownInstrument if isinstance(error, UnknownInstrument) else HistoryError
        return kind(text, about=self.request.vt_symbol, code=error.code)


_current: ContextVar[Download] = ContextVar("download")


def current(request: HistoryRequest, clock: Clock, log: Callable[[str], None] = lambda line: None) -> Download:
    """Return the download that is running in this task; one that remembers nothing where bars are read outside of any.

    ``log`` is for the latter.
    """
    try:
        return _current.get()
    except LookupError:
        return Download(request, Parts(clock), clock, log)


def bar_data(bars: Mapping[datetime, Bar], asked: Asked, request: HistoryRequest, gateway_name: str) -> list[BarData]:
    """Return the bars of a request as vn.py's, new ones each time, oldest first, under the request's own spelling."""
    return [
        BarData(
            gateway_name=gateway_name,
            symbol=request.symbol,
            exchange=request.exchange,
            datetime=bar.stamp,
            interval=request.interval,
            volume=bar.volume,
            turnover=bar.turnover,
            open_price=bar.open,
            high_price=bar.high,
            low_price=bar.low,
            close_price=bar.close,
        )
        for _stamp, bar in sorted(bars.items())
        if asked.start <= bar.stamp <= asked.end
    ]


def interval_name(request: HistoryRequest) -> str:
    """Return a request's interval for a line: ``1m``."""
    return request.interval.value if isinstance(request.interval, Interval) else "None"


def week_over(last_day: datetime) -> datetime:
    """Return the Saturday's midnight after an aware midnight of the week, in its own zone."""
    return last_day + timedelta(days=5 - last_day.weekday())
