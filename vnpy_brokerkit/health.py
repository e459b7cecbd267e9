"""What a gateway can say of itself at one instant, for any thread to read without waiting.

The loop thread makes one immutable :class:`Health` about once a second and at each change of session, and puts it in
place by one assignment; :meth:`Pulse.now` adds nothing to it but its age. So a window, a strategy or another process
may ask as often as it likes, and a loop that hangs shows as one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from statistics import median
from typing import TYPE_CHECKING

from .clock import Clock
from .credentials import mask
from .findings import Report
from .i18n import N_, _
from .lifecycle import State
from .pacing import Patience

if TYPE_CHECKING:
    from .async_gateway import AsyncGateway

HEALTH_EVERY = 1.0
"""Seconds between two looks."""
HANGING = 10.0
"""Seconds after which a look that is not renewed means that the loop itself hangs."""
MINUTES_KEPT = 24 * 60
"""Latency points that are kept: a day's."""
SAMPLES_KEPT = 600
"""Round trips of one minute that its median is taken of; more of them count for the worst alone."""


class Lamp(Enum):
    """What the lamp of a gateway shows; the value is its word."""

    OFF = N_("未连接")
    GOOD = N_("正常")
    DEGRADED = N_("部分中断")
    """Some of it works: the words say which channel does not."""
    RECONNECTING = N_("连接中")
    FAILED = N_("需人工处理")
    """It tries no more by itself: wrong password, settings that cannot be used."""
    RESET = N_("每日重置")
    """The broker's servers are in their nightly reset: it ends by itself."""


@dataclass(frozen=True)
class Market:
    """A market that can be cancelled as a whole. ``key`` is what ``cancel_all`` takes, ``orders`` how many it means."""

    key: str
    name: str
    orders: int


@dataclass(frozen=True)
class Condition:
    """What a session says of its channels; times are seconds of the clock's ``monotonic``."""

    lamp: Lamp
    words: str = ""
    """One line: which channel, and the remedy."""
    heard: float | None = None
    """When the broker last gave a sign of life."""
    next_try: float | None = None
    """When the next try to connect begins."""
    subscriptions: int = 0
    subscriptions_most: int = 0
    read_only: bool = False
    shorts: bool = True
    """Whether the account may go short."""
    markets: tuple[Market, ...] = ()


@dataclass(frozen=True)
class Health:
    """A gateway at one instant. Times are aware, durations seconds; ``None``: not known, or there is none."""

    gateway_name: str
    lamp: Lamp
    words: str
    at: datetime
    embedded: bool = False
    """It trades on the embedded simulator: nothing is real."""
    read_only: bool = False
    stopped: bool = False
    """The kill switch is on: new orders are refused."""
    shorts: bool = True
    heartbeat: datetime | None = None
    latency: float | None = None
    """The last round trip of a request."""
    next_try: float | None = None
    """Seconds from now until the next try to connect."""
    subscriptions: int = 0
    subscriptions_most: int = 0
    unknown: int = 0
    """Orders whose outcome is not known."""
    working: int = 0
    markets: tuple[Market, ...] = ()
    report: Report | None = None
    """The last reconciliation that found something or that somebody asked for, else the last one."""
    checked: datetime | None = None
    """When the engine was last compared with the broker."""

    def plain(self) -> dict[str, object]:
        """Return it as built-in types alone: other processes may not have this package."""
        return {
            "gateway_name": self.gateway_name,
            "lamp": self.lamp.name,
            "words": self.words,
            "at": self.at.isoformat(),
            "embedded": self.embedded,
            "read_only": self.read_only,
            "stopped": self.stopped,
            "heartbeat": self.heartbeat.isoformat() if self.heartbeat else None,
            "latency": self.latency,
            "next_try": self.next_try,
            "subscriptions": self.subscriptions,
            "subscriptions_most": self.subscriptions_most,
            "unknown": self.unknown,
            "working": self.working,
        }


@dataclass(frozen=True)
class LatencyPoint:
    """The round trips of one minute, in seconds."""

    minute: datetime
    median: float
    worst: float


class Latencies:
    """The round trips of the last day, bounded: :meth:`add` in the loop thread, :meth:`points` in any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last: float | None = None
        self._minute: datetime | None = None
        self._samples: list[float] = []
        self._worst = 0.0
        self._closed: deque[LatencyPoint] = deque(maxlen=MINUTES_KEPT)
        self._shown: tuple[tuple[LatencyPoint, ...], LatencyPoint | None] = ((), None)

    def add(self, seconds: float) -> None:
        """Note one round trip."""
        self.last = seconds
        self._turn()
        self._worst = max(self._worst, seconds)
        if len(self._samples) < SAMPLES_KEPT:
            self._samples.append(seconds)

    def publish(self) -> None:
        """Put what is known where :meth:`points` reads it."""
        self._turn()
        self._shown = (self._shown[0], self._point())

    def points(self) -> tuple[LatencyPoint, ...]:
        """Return a point per minute with round trips, oldest first, the present minute's last."""
        closed, present = self._shown
        return (*closed, present) if present else closed

    def _turn(self) -> None:
        minute = self._clock.now().replace(second=0, microsecond=0)
        if minute == self._minute:
            return
        point = self._point()
        if point:
            self._closed.append(point)
            self._shown = (tuple(self._closed), None)
        self._minute, self._samples, self._worst = minute, [], 0.0

    def _point(self) -> LatencyPoint | None:
        if self._minute is None or not self._samples:
            return None
        return LatencyPoint(self._minute, median(self._samples), self._worst)


class Pulse:
    """Makes the :class:`Health` of one gateway."""

    def __init__(self, gateway: AsyncGateway) -> None:
        self._gateway = gateway
        self._patience = Patience(gateway.timing.repeat_line, gateway.clock)
        self._timer: asyncio.TimerHandle | None = None
        self.end()

    # ------------------------------------------------------------------ any thread

    def now(self) -> Health:
        """Return the last look, with its age taken into account. Never waits."""
        gateway = self._gateway
        shown, made, beating = self._shown
        age = gateway.clock.monotonic() - made
        lamp, words, next_try = shown.lamp, shown.words, shown.next_try
        if beating and age > HANGING:
            lamp, words = Lamp.DEGRADED, _("接口线程已{:.0f}秒没有响应，显示的是此前的状态").format(age)
        if next_try is not None:
            next_try = max(0.0, next_try - age)
        stopped = gateway.guard.stopped
        if stopped:
            notice = _("紧急停止：拒绝新委托，撤单照常")
            words = _("{}；{}").format(notice, words) if words else notice
        return replace(shown, lamp=lamp, words=words, next_try=next_try, stopped=stopped)

    def end(self) -> None:
        """The gateway is closed, or was never connected: nothing is looked at any more."""
        health = Health(
            self._gateway.gateway_name,
            Lamp.OFF,
            _("尚未连接；请在“系统”菜单中连接"),
            self._gateway.clock.now(),
            embedded=self._gateway.embedded,
            shorts=self._gateway.shorts,
        )
        self._shown: tuple[Health, float, bool] = (health, self._gateway.clock.monotonic(), False)

    # ------------------------------------------------------------------ the loop thread

    def beat(self) -> None:
        """Look now, and then about once a second for as long as the loop runs."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(HEALTH_EVERY, self.beat)
        gateway = self._gateway
        try:
            health = self._look()
        except Exception as error:  # noqa: BLE001  a fault of what only shows must not spread; it is told
            if self._patience.may_say("health"):
                gateway.log(_("内部错误（{}）：{!r}；请将日志反馈给开发者").format("health", error))
            return
        gateway.latencies.publish()
        self._shown = (health, gateway.clock.monotonic(), True)

    def _look(self) -> Health:
        gateway = self._gateway
        now, monotonic = gateway.clock.now(), gateway.clock.monotonic()
        condition = gateway.condition()
        if condition.lamp is Lamp.GOOD:
            condition = self._with_journal(condition)
        counts = Counter(order.state for order in gateway.tracker if order.active)
        findings = gateway.findings
        heard = None if condition.heard is None else gateway.wall(condition.heard)
        return Health(
            gateway_name=gateway.gateway_name,
            lamp=condition.lamp,
            words=mask(condition.words, *gateway.secrets),
            at=now,
            embedded=gateway.embedded,
            read_only=condition.read_only,
            shorts=condition.shorts,
            heartbeat=heard,
            latency=gateway.latencies.last,
            next_try=None if condition.next_try is None else max(0.0, condition.next_try - monotonic),
            subscriptions=condition.subscriptions,
            subscriptions_most=condition.subscriptions_most,
            unknown=counts[State.UNKNOWN],
            working=counts.total() - counts[State.UNKNOWN],
            markets=condition.markets,
            report=findings.reports[-1] if findings.reports else findings.last,
            checked=findings.last.ended if findings.last else None,
        )

    def _with_journal(self, condition: Condition) -> Condition:
        """Without a journal no order is sent, however well the channels are."""
        journal = self._gateway.journal
        trouble = journal.trouble if journal else _("委托日志未打开，不能下单；原因见日志")
        return replace(condition, lamp=Lamp.DEGRADED, words=trouble) if trouble else condition


def joined(words: Iterable[str]) -> str:
    """Return several reasons as one line."""
    return _("；").join(filter(None, words))
