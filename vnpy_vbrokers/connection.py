"""The two channels to the OpenAPI Gateway: HTTP with its login, and push. Each fails and recovers by itself.

Everything runs in the gateway's loop thread. Reads may be tried again, mutations go out once (reference
"vbrokers-openapi", section 12.2). The Gateway's session is shared by all programs on the machine (section 3.3): we
log in again when it ended, once when somebody displaced us, and never fight over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vnpy_brokerkit.clock import Clock, jump
from vnpy_brokerkit.errors import (
    BrokerError,
    ConnectionFailed,
    LoginFailed,
    PermissionDenied,
    ProtocolError,
    TimedOut,
    UnknownOutcome,
)
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience, Throttle
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.waiting import first_of, within

from .errors import may_ask_again, needs_login
from .push_channel import PushChannel
from .wire.http import HttpWire
from .wire.push import PushEvent

LOGIN = "/trade/TradeLogin"
PROBE = "/trade/TradeQueryMarginFundInfo"
DISPLACED = "1013"
NOT_THE_PASSWORD = frozenset({"1001", "1004", "1012", "1014", "20033", "3001"})
"""Answers to a login that say nothing about the password: tried again later."""


class Phase(Enum):
    """Where the HTTP channel stands."""

    CONNECTING = "connecting"
    UP = "up"
    DOWN = "down"
    ENDED = "ended"
    """Waits for a person: wrong password, or a displaced session that has to wait."""


@dataclass(frozen=True)
class Address:
    """Where a Gateway listens."""

    host: str
    port: int
    push_host: str
    push_port: int


class Connection:
    """Login, keep-alive, reconnect.

    ``on_up`` runs after each time that the Gateway may have forgotten us (first login, login again, push connected
    again): subscribe, then reconcile. ``on_push`` gets each decoded push event; ``log`` one line for a person.
    """

    def __init__(
        self,
        address: Address,
        *,
        cipher: Callable[[], str],
        probe_market: str,
        clock: Clock,
        timing: Timing,
        list_rate: float,
        log: Callable[[str], None],
        on_up: Callable[[], Awaitable[None]],
        on_push: Callable[[PushEvent], None],
        on_push_lost: Callable[[], None],
        on_refused_login: Callable[[BrokerError], None],
        on_good_login: Callable[[], None],
        on_round_trip: Callable[[float], None],
    ) -> None:
        self.address = address
        self.phase = Phase.CONNECTING
        self.settled = False
        """Whether everything was compared with the broker since the HTTP channel came up."""
        self.problem = ""
        """Why the HTTP channel is not up, in words."""
        self.unanswered = 0
        """Requests in a row that brought no usable answer, though the channel may look open."""
        self.silence = ""
        """What the last of them brought instead."""
        self._answered: float | None = None
        self.next_try: float | None = None
        """Monotonic second at which the next try to connect begins, while one is waited for."""
        self._cipher = cipher
        self._probe_market = probe_market
        self._clock = clock
        self._timing = timing
        self._log = log
        self._on_up = on_up
        self._on_refused_login = on_refused_login
        self._on_good_login = on_good_login
        self._on_round_trip = on_round_trip
        self._wire = HttpWire(
            address.host,
            address.port,
            timeout_sec=timing.request_timeout,
            answer_margin=timing.answer_margin,
            connect_timeout=timing.connect_timeout,
        )
        self._lists = Throttle(list_rate, clock, at_once=max(1, int(list_rate)))
        self._patience = Patience(timing.repeat_line, clock)
        self._outage = Patience(timing.repeat_line, clock, growing=True)
        """For what is said again and again while an outage lasts."""
        self._login_lock = asyncio.Lock()
        self._logins = 0
        self._refused: LoginFailed | None = None
        """A refused password is never tried again by this connection."""
        self._displaced: list[float] = []
        self._displaced_login = 0
        """The login whose displacement has been counted: one that is hard to take back is still one."""
        self._forbidden_until = 0.0
        self._lost_logins = 0
        """Sessions in a row that were gone as soon as they had begun."""
        self._restore = asyncio.Event()
        self._awake = asyncio.Event()
        """Set when the machine has slept: what was waited for may be there by now."""
        self._lost = asyncio.Event()
        self._push = PushChannel(
            address,
            clock=clock,
            timing=timing,
            outage=self._outage,
            log=log,
            http_up=lambda: self.phase is Phase.UP,
            on_event=on_push,
            on_back=self._restore.set,
            on_lost=on_push_lost,
        )

    @property
    def push_up(self) -> bool:
        """Whether the push channel is there."""
        return self._push.up

    @property
    def heard(self) -> float | None:
        """Monotonic second of the last answer or pushed frame."""
        return max((at for at in (self._answered, self._push.heard) if at is not None), default=None)

    def drop_push(self) -> None:
        """Give up a push channel that may be dead; it is made anew. Who calls this has said why."""
        self._push.drop()

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Stay connected until cancelled; returns when only a person can help (wrong password)."""
        keepers = [asyncio.create_task(self._push.run()), asyncio.create_task(self._keep_awake())]
        try:
            await self._keep_session()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)

    async def _keep_awake(self) -> None:
        """After a sleep of the machine its sockets may be dead and still look open: both channels are made anew."""
        while True:
            slept = await jump(self._clock)
            self._log(_("系统时间跳变{:.0f}分钟（可能刚从休眠恢复），重新连接并核对").format(slept / 60))
            self._forbidden_until -= slept  # it has been waited, too
            await self._wire.renew()
            if self.push_up:
                self.drop_push()  # its return restores everything
            else:
                self._restore.set()
            self._awake.set()

    async def close(self) -> None:
        """Close the sockets; neither logs the Gateway out nor drops subscriptions that other programs share."""
        self.phase = Phase.ENDED
        await self._wire.close()

    async def _keep_session(self) -> None:
        while True:
            try:
                await self._establish()
                await self._wait_for_push()
                self._lost.clear()
                self._restore.clear()
                self.phase = Phase.UP
                await self._on_up()
                self.settled, self.problem = True, ""
                self._outage.forget("http")
                self._lost_logins = 0
                await self._until_trouble()
            except LoginFailed as error:
                if await self._login_is_over(error):
                    return
            except BrokerError as error:
                self._go_down(error.text)
                self._say_down(error)
                await self._rest(self._clock.sleep(self._timing.reconnect), self._timing.reconnect)
            except Exception as error:  # noqa: BLE001  a fault of ours must not end the connection; it is told
                self._go_down(repr(error))
                if self._patience.may_say("fault"):
                    self._log(_("内部错误：{!r}；将自动重试，请将日志反馈给开发者").format(error))
                await self._rest(self._clock.sleep(self._timing.reconnect), self._timing.reconnect)

    def _go_down(self, why: str) -> None:
        self.phase, self.settled, self.problem = Phase.DOWN, False, why

    async def _rest(self, work: Awaitable[None], seconds: float) -> None:
        """Wait before the next try, which begins in so many seconds."""
        self.next_try = self._clock.monotonic() + seconds
        try:
            await work
        finally:
            self.next_try = None

    async def _wait_for_push(self) -> None:
        """Both channels mostly come back together: one synchronisation then does for both."""
        if not self.push_up:
            with contextlib.suppress(asyncio.TimeoutError):
                await within(self._timing.push_wait, self._push.ready())

    async def _until_trouble(self) -> None:
        """Return when a restore is wanted (session or push came back), or when the HTTP channel is lost."""
        await first_of(self._restore.wait(), self._lost.wait())
        if self._lost.is_set():
            self._go_down(_("连接中断"))
            if self._patience.may_say("lost"):
                self._log(
                    _("与OpenAPI Gateway {}:{}的HTTP连接中断，正在重连").format(self.address.host, self.address.port)
                )

    async def _establish(self) -> None:
        """Be logged in: the first time by the password, later by a read that logs in again where it must."""
        if self._logins == 0:
            async with self._login_lock:
                await self._login()
        else:
            with contextlib.suppress(PermissionDenied):  # who is told that is logged in
                await self._try_read(PROBE, {"exchangeType": self._probe_market})

    async def _login_is_over(self, error: LoginFailed) -> bool:
        """Handle a login that failed: the password refused for good (True), else tried again later (False).

        A read that is told "not logged in" after a login that was accepted says nothing about the password: the
        session was displaced, or the Gateway is not well. It gets growing delays, and the latch stays open.
        """
        if self._refused:
            self.phase = Phase.ENDED
            self.problem = error.text
            self._on_refused_login(error)
            return True
        self._go_down(error.text)
        wait = self._forbidden_until - self._clock.monotonic()
        if wait <= 0:
            self._say_down(error)
            wait = min(self._timing.reconnect * 2**self._lost_logins, self._timing.backoff_most)
            self._lost_logins += 1
        self._awake.clear()
        wait = max(wait, self._timing.reconnect)
        await self._rest(first_of(self._clock.sleep(wait), self._awake.wait()), wait)
        return False

    def _say_down(self, error: BrokerError) -> None:
        if self._outage.may_say("http"):
            if isinstance(error, ConnectionFailed) and not error.code:  # a code is the answer of one that is there
                text = _("无法连接OpenAPI Gateway {}:{}（{}）；请启动Gateway并确认“地址”和“端口”，将自动重连")
            else:
                text = _("OpenAPI Gateway {}:{}暂不可用（{}）；请确认Gateway已登录券商，将自动重试")
            self._log(text.format(self.address.host, self.address.port, error.text))

    # ------------------------------------------------------------------ login

    async def _login(self) -> None:
        if self._refused:
            raise self._refused
        try:
            data = await self._timed(self._wire.read(LOGIN, {"password": self._cipher()}))
        except (ConnectionFailed, UnknownOutcome, ProtocolError):
            raise
        except BrokerError as error:
            if error.code == DISPLACED:
                raise  # nor does this, and who is in does not let us: tried later, ever more seldom
            if may_ask_again(error) or error.code in NOT_THE_PASSWORD:
                raise ConnectionFailed(error.text, about=LOGIN, code=error.code) from None
            self._refused = LoginFailed(error.text, about=LOGIN, code=error.code)
            raise self._refused from None
        if isinstance(data, dict) and data.get("success") is False:
            self._refused = LoginFailed(_("登录未成功"), about=LOGIN)
            raise self._refused
        self._logins += 1
        self._on_good_login()

    async def _renew(self, seen: int, error: BrokerError) -> None:
        """Log in again, once for all who saw the session end (single flight)."""
        async with self._login_lock:
            if self._logins != seen:
                return
            now = self._clock.monotonic()
            if error.code == DISPLACED:
                self._note_displaced(now)
            if now < self._forbidden_until:
                raise LoginFailed(_("登录被其他程序挤下线"), about=LOGIN, code=DISPLACED)
            self._log(_("交易登录已失效（{}），重新登录").format(error.code or error.text))
            await self._login()
            self._restore.set()

    def _note_displaced(self, now: float) -> None:
        """Once displaced: log in again. Again within the hour: wait, ever longer, rather than fight."""
        if now < self._forbidden_until or self._displaced_login == self._logins:
            return
        self._displaced_login = self._logins
        self._displaced = [at for at in self._displaced if now - at < 3600] + [now]
        again = len(self._displaced) - 1
        if again:
            wait = min(self._timing.backoff_first * 5 * 2 ** (again - 1), self._timing.backoff_most)
            self._forbidden_until = now + wait
            # Before it is said: who reads the line must not find an open door.
            self._go_down(_("登录被其他程序挤下线"))
            self._log(
                _("交易登录再次被挤下线（1013），{:.0f}秒内不再抢登；请退出其他使用该账户的程序，或重新连接").format(
                    wait
                )
            )

    # ------------------------------------------------------------------ requests

    async def read(self, route: str, params: dict[str, Any]) -> Any:
        """Ask for something, with the tries and the login that a read may have. Raises :class:`BrokerError`."""
        if self.phase in (Phase.DOWN, Phase.ENDED):
            raise ConnectionFailed(_("未连接"), about=route)
        try:
            return await self._try_read(route, params)
        except (ConnectionFailed, TimedOut, LoginFailed):
            self._lost.set()
            raise

    async def read_list(self, route: str, params: dict[str, Any]) -> Any:
        """The same for lists of orders, fills and positions: at the rate of list reads."""
        await self._lists.turn()
        return await self.read(route, params)

    async def _try_read(self, route: str, params: dict[str, Any]) -> Any:
        renewed = False
        tries = len(self._timing.retry_backoff)
        attempt = 0
        while True:
            seen = self._logins
            try:
                return await self._timed(self._wire.read(route, params))
            except BrokerError as error:
                if needs_login(error):
                    if renewed:
                        raise
                    renewed = True
                    await self._renew(seen, error)
                    continue
                attempt += 1
                if attempt >= tries or not may_ask_again(error):
                    raise
                wait = self._timing.retry_backoff[attempt - 1]
            await self._clock.sleep(wait * random.uniform(1.0, 1.2))

    async def _timed(self, answer: Awaitable[Any]) -> Any:
        """Wait for an answer, and note how long it took."""
        asked = self._clock.monotonic()
        try:
            told = await answer
        except (ConnectionFailed, UnknownOutcome, ProtocolError) as error:
            if not error.code:  # a code is the answer of one that is there
                self.unanswered += 1
                self.silence = error.text
            raise
        self.unanswered = 0
        self._answered = self._clock.monotonic()
        self._on_round_trip(self._answered - asked)
        return told

    async def mutate(self, route: str, params: dict[str, Any]) -> Any:
        """Send an order, a cancel or a change: one attempt, whatever happens. Raises :class:`BrokerError`."""
        if self.phase is not Phase.UP:
            raise ConnectionFailed(_("未连接"), about=route)
        seen = self._logins
        try:
            return await self._timed(self._wire.mutate(route, params))
        except BrokerError as error:
            if needs_login(error):
                # Clearly refused, so it is not sent again; the next one should find an open door.
                asyncio.get_running_loop().create_task(self._renew_quietly(seen, error))
            elif isinstance(error, ConnectionFailed):
                self._lost.set()
            elif isinstance(error, UnknownOutcome):
                # Reading the lists settles it, and shows whether the channel still lives.
                self._restore.set()
            raise

    async def _renew_quietly(self, seen: int, error: BrokerError) -> None:
        try:
            await self._renew(seen, error)
        except BrokerError as failure:
            self._say_down(failure)
            self._lost.set()
