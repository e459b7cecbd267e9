"""The connection to TWS or IB Gateway: made, kept alive, lost and made again, with the daily and weekly interruptions.

Two losses are different things (reference "tws-api", section 11): the socket to TWS is gone, and everything must be
asked for again; or TWS itself lost IB's servers (1100), the socket lives, and requests may never be answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from zoneinfo import ZoneInfo

from vnpy_brokerkit.clock import Clock, jump
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, TimedOut
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing

from .errors import BY_CODE, FARMS_BROKEN, FARMS_OK
from .wire.events import Listener
from .wire.tws import Wire

CLIENT_ID_IN_USE = "326"
MOST_DOUBLINGS = 20
RESET_FROM, RESET_TO = 23, 3
"""New York's hours of IB's nightly resets, roughly."""
LINK_LOST = frozenset({1100, 2110})
LINK_BACK_DATA_LOST = 1101
LINK_BACK_DATA_KEPT = 1102
PORT_CHANGED = 1300
FARMS_QUIET = frozenset({2107, 2108, 2119, 2159})
"""Farms that sleep until they are needed, or are being connected: nothing to say."""
COMPETING_SESSION = 10197
CONNECTION_CODES = (
    LINK_LOST
    | FARMS_BROKEN
    | FARMS_OK
    | FARMS_QUIET
    | {LINK_BACK_DATA_LOST, LINK_BACK_DATA_KEPT, PORT_CHANGED, COMPETING_SESSION}
)


class Link(Enum):
    """How far the way to the broker is open."""

    DOWN = "down"
    """No socket to TWS."""
    STALE = "stale"
    """TWS is there and has lost IB's servers."""
    UP = "up"


class Connection:
    """Keeps one :class:`Wire` alive, and makes the next when it ends.

    ``on_up`` runs after each connect and each return of the link: ``on_up(data_lost)``. ``on_down`` when either ends.
    """

    def __init__(
        self,
        *,
        host: str,
        ports: Sequence[int],
        client_id: int,
        listener: Listener,
        clock: Clock,
        timing: Timing,
        log: Callable[[str], None],
        on_up: Callable[[bool], Awaitable[None]],
        on_down: Callable[[], None],
        on_round_trip: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.link = Link.DOWN
        self.problem = ""
        """Why there is no socket to TWS, in words."""
        self.next_try: float | None = None
        """Monotonic second at which the next try to connect begins, while one is waited for."""
        self.broken_farms: dict[tuple[int, str], str] = {}
        """By code and name of a data farm that is broken: what that means, in words."""
        self.port = ports[0]
        self._host = host
        self._ports = list(ports)
        self._client_id = client_id
        self._listener = listener
        self._clock = clock
        self._timing = timing
        self._log = log
        self._on_up = on_up
        self._on_down = on_down
        self._on_round_trip = on_round_trip
        self._measured = 0.0
        """Monotonic second of the last question that was asked to be measured."""
        self._heard: float | None = None
        self._patience = Patience(timing.repeat_line, clock)
        self._outage = Patience(timing.repeat_line, clock, growing=True)
        """For what is said again and again while an outage lasts."""
        self._wire: Wire | None = None
        self._again = asyncio.Event()
        self._data_lost = False
        self._refusals = 0
        self._first_id = 0
        """Where the ids of the next connection begin."""

    @property
    def wire(self) -> Wire:
        """The wire of the present connection. Raises :class:`ConnectionFailed` without one."""
        if self._wire is None or not self._wire.connected:
            raise ConnectionFailed(_("未连接TWS"), about="TWS")
        return self._wire

    @property
    def heard(self) -> float | None:
        """Monotonic second at which TWS last sent anything."""
        return self._wire.last_data if self._wire else self._heard

    @property
    def in_reset(self) -> bool:
        """Whether a lost link to IB is probably the servers' nightly reset: its hours are not fixed and differ by
        region (section 11), so this is New York's night."""
        hour = self._clock.now().astimezone(ZoneInfo("America/New_York")).hour
        return hour >= RESET_FROM or hour < RESET_TO

    @property
    def up(self) -> bool:
        return self.link is Link.UP

    async def run(self) -> None:
        """Connect and stay connected until cancelled."""
        while True:
            try:
                wire = await self._connect()
            except ConnectionFailed as error:
                await self._rest(self._say_refused(error))
                continue
            self._refusals = 0
            self._outage.forget("refused")
            began = self._clock.monotonic()
            try:
                await self._live(wire)
            finally:
                self.link = Link.DOWN
                self.problem = _("连接已断开")
                self._heard = wire.last_data
                self._wire = None
                self._first_id = max(self._first_id, wire.first_free_id)
                wire.close()
                self._on_down()
            if self._clock.monotonic() - began < self._timing.reconnect:
                # TWS takes us and something ends it at once: do not hammer.
                await self._rest(self._timing.reconnect)

    async def _rest(self, seconds: float) -> None:
        """Wait before the next try."""
        self.next_try = self._clock.monotonic() + seconds
        try:
            await self._clock.sleep(seconds)
        finally:
            self.next_try = None

    async def close(self) -> None:
        """Close the socket; open orders stay at the broker."""
        self.link = Link.DOWN
        if self._wire:
            self._wire.close()

    # ------------------------------------------------------------------ connecting

    async def _connect(self) -> Wire:
        failure = ConnectionFailed(_("没有可用端口"), about="TWS")
        for port in self._ports:
            wire = Wire(self._listener, self._clock, patience=self._timing.request_timeout, first_id=self._first_id)
            try:
                await wire.connect(self._host, port, self._client_id, self._timing.connect_timeout)
            except ConnectionFailed as error:
                # A TWS that gives a reason says more than a port at which nobody is.
                failure = failure if failure.code else error
                continue
            except BaseException:
                wire.close()
                raise
            self.port = port
            return wire
        raise failure

    def _say_refused(self, error: ConnectionFailed) -> float:
        """Write the line of a refused connect, ever more rarely; return how long to wait before the next try."""
        where = f"{self._host}:{'/'.join(map(str, self._ports))}"
        if error.code == CLIENT_ID_IN_USE:
            wait = float(
                min(self._timing.reconnect * 2 ** min(self._refusals, MOST_DOUBLINGS), self._timing.backoff_most)
            )
            self._refusals += 1
            text = _("客户号{}已被其他程序占用（326），{:.0f}秒后重试；请关闭该程序或修改“客户号”").format(
                self._client_id, wait
            )
        else:
            wait = self._timing.reconnect
            text = _(
                "无法连接TWS {}（{}）；请启动TWS或IB Gateway并登录，启用API（Enable ActiveX and Socket Clients），"
                "核对“TWS端口”和受信任IP，将自动重连{}"
            ).format(where, error.text, self._window_hint())
        self.problem = text
        if self._outage.may_say("refused"):
            self._log(text)
        return wait

    def _window_hint(self) -> str:
        """Sunday's early hours in New York end the login for the week (section 11): only a person can log in again."""
        now = self._clock.now().astimezone(ZoneInfo("America/New_York"))
        if now.weekday() == 6 and 1 <= now.hour < 12:
            return _("（每周日凌晨登录失效，需人工重新登录TWS）")
        return ""

    # ------------------------------------------------------------------ one connection

    async def _live(self, wire: Wire) -> None:
        self._wire = wire
        self.link = Link.UP
        self.problem = ""
        self.broken_farms.clear()
        self._data_lost = True
        self._again.set()
        works = (self._synchronise(), self._heartbeat(wire), self._keep_awake(wire), wire.closed())
        keepers = [asyncio.ensure_future(work) for work in works]
        try:
            done, _pending = await asyncio.wait(keepers, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():  # not by us: it must not pass for our own end
                    raise ConnectionFailed(_("内部任务中断"), about="TWS")
                task.result()
        except BrokerError as error:
            if self._outage.may_say("given-up"):
                self._log(_("TWS连接已放弃（{}），重新连接").format(error.text))
        finally:
            for task in keepers:
                task.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
        if self._outage.may_say("lost"):
            self._log(_("与TWS {}:{}的连接已断开，正在重连").format(self._host, self.port))

    async def _synchronise(self) -> None:
        """Bring everything up to date after a connect and after each return of the link."""
        while True:
            await self._again.wait()
            self._again.clear()
            data_lost, self._data_lost = self._data_lost, False
            await self._on_up(data_lost)
            self._outage.forget("given-up")
            self._outage.calm("lost")

    async def _heartbeat(self, wire: Wire) -> None:
        """Find a socket that is open and dead: TCP alone may not tell for hours."""
        while True:
            await self._clock.sleep(self._timing.heartbeat / 2)
            now = self._clock.monotonic()
            if now - wire.last_data >= self._timing.heartbeat:
                await self._prove_alive(wire)
            elif now - self._measured >= self._timing.heartbeat:
                # Only to know how fast TWS is. One that is talking, and does not answer this, is not dead.
                with contextlib.suppress(TimedOut):
                    await self._ask_time(wire)

    async def _keep_awake(self, wire: Wire) -> None:
        """After a sleep of the machine the socket may be dead and still look open: it is asked at once."""
        while True:
            slept = await jump(self._clock)
            self._log(_("系统时间跳变{:.0f}分钟（可能刚从休眠恢复），重新连接并核对").format(slept / 60))
            await self._prove_alive(wire)
            if self.up:
                self._again.set()

    async def _prove_alive(self, wire: Wire) -> None:
        """Return when TWS says anything. Raises :class:`TimedOut` when it does not."""
        asked = self._clock.monotonic()
        try:
            await self._ask_time(wire)
        except TimedOut:
            if wire.last_data < asked:
                raise
            # Whatever came instead: it lives.

    async def _ask_time(self, wire: Wire) -> None:
        """Ask what costs TWS nothing, and note how long the answer took. Raises :class:`TimedOut`."""
        self._measured = self._clock.monotonic()
        await wire.ask_plain("currentTime", wire.client.reqCurrentTime, self._timing.heartbeat_answer)
        self._on_round_trip(self._clock.monotonic() - self._measured)

    # ------------------------------------------------------------------ codes

    def on_code(self, code: int, text: str) -> bool:
        """Take a code about the connection itself; return whether it was one."""
        if code not in CONNECTION_CODES:
            return False
        if code in LINK_LOST:
            self.link = Link.STALE
            self._log(_("TWS与IB服务器的连接中断（{}），暂停下单，等待恢复").format(code))
            self._on_down()
        elif code in (LINK_BACK_DATA_LOST, LINK_BACK_DATA_KEPT):
            self.link = Link.UP
            self._data_lost = self._data_lost or code == LINK_BACK_DATA_LOST
            self._log(_("TWS与IB服务器的连接已恢复（{}），核对委托与持仓").format(code))
            self._again.set()
        elif code == PORT_CHANGED:
            self._log(_("TWS的API端口已修改：{}；请修改“TWS端口”后重新连接").format(text))
        elif code == COMPETING_SESSION:
            if self._patience.may_say("competing"):
                self._log(_("行情被同一用户的另一会话占用（10197）；请退出另一处登录，恢复后自动继续"))
        elif code in FARMS_OK:
            self.broken_farms.pop((code - 1, _farm(text)), None)
        elif code in FARMS_BROKEN:
            self.broken_farms[code, _farm(text)] = _(BY_CODE[code].meaning)
            if self._patience.may_say(f"farm-{code}"):
                self._log(_("{}（{}），等待自动恢复").format(_(BY_CODE[code].meaning), text))
        return True


def _farm(text: str) -> str:
    """A data farm's name is the last word of what TWS says of it (section 9.1); its OK is the code plus one."""
    return text.rpartition(":")[2].strip()
