"""The Gateway's two ports, and every way in which they fail: where faults meet requests."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence

from brokersim.faults import Fault
from brokersim.half import World
from brokersim.hstong.backend import Backend
from brokersim.hstong.codes import GatewayError
from brokersim.hstong.dispatch import CURSOR_LISTS, MUTATIONS, BadRequest, Dispatcher
from brokersim.hstong.frames import MAX_BODY
from brokersim.hstong.lists import SHIFT_PAGES, STUCK_CURSOR, Lists
from brokersim.hstong.push import BROKER, PushServer
from brokersim.http_server import Exchange, HttpServer
from brokersim.matching import Refused
from brokersim.net import HOST, Listener

RESTART_S = 1.0
"""How long a restart takes, unless the fault says."""
PUSH_LEAD_S = 0.02
"""The start that a push gets before the HTTP answer that it overtakes."""
ACCEPT_TURNS = 8
"""Turns of the loop before a request is acted on: a push client that connected before it is then surely accepted."""
MAX_PATHS = 1000
"""How many different unknown paths are counted one by one."""
PUSH_FAULTS = frozenset({"push", "join"})
"""Faults that a request brings upon the order pushes that it causes."""
ANSWER_FAULTS = frozenset({"split", "lose_reply", STUCK_CURSOR, SHIFT_PAGES}) | PUSH_FAULTS
"""Faults that change how a request is answered, not whether; the others strike at their phase."""

logger = logging.getLogger(__name__)


class Door:
    """HTTP requests in, answers out, faults between."""

    def __init__(self, world: World, backend: Backend, dispatcher: Dispatcher, lists: Lists, push: PushServer) -> None:
        self.received: Counter[str] = Counter()
        self._faults = world.faults
        self._backend = backend
        self._dispatcher = dispatcher
        self._lists = lists
        self._push = push
        push.on_fault = self._strike
        server = HttpServer(self._answer, lambda text: dispatcher.failure(GatewayError("1010", text)))
        self._http = Listener(world.options.vbrokers_port, "--vbrokers-port", server.serve)
        self._shut_until: float | None = None
        self._silent_until: float | None = None
        self._hung: set[asyncio.Event] = set()

    # -- ports -------------------------------------------------------------------------------------------------

    def bind(self) -> None:
        self._http.bind()
        self._push.listener.bind()

    async def open(self) -> None:
        await self._http.open()
        await self._push.listener.open()

    def addresses(self) -> dict[str, str]:
        return {"vbrokers": f"http://{HOST}:{self._http.port}", "push": f"{HOST}:{self._push.listener.port}"}

    async def stop(self) -> None:
        self._release_hung()
        await self._http.stop()
        await self._push.stop()

    async def turn(self) -> None:
        """Let the faults strike whose moment has come, and end what they caused when it has lasted long enough."""
        for fault in self._faults.due(BROKER):
            self._strike(fault)
        now = asyncio.get_running_loop().time()
        if self._silent_until is not None and now >= self._silent_until:
            self._silent_until = None
        if self._shut_until is not None and now >= self._shut_until:
            self._shut_until = None
            await self.open()

    def clear_faults(self) -> None:
        """End refusing and silence; connections that were left half-open are closed."""
        self._silent_until = None
        if self._shut_until is not None:
            self._shut_until = -math.inf
        self._release_hung()
        self._push.close_muted()

    # -- faults that concern the whole Gateway -----------------------------------------------------------------

    def _strike(self, fault: Fault) -> None:
        act = _WHOLE.get(fault.do)
        if act is None:
            logger.warning("brokersim: fault %s cannot strike at this message, it is passed over", fault.do)
        else:
            act(self, fault)

    def _refuse(self, fault: Fault) -> None:
        self._shut(math.inf if fault.for_s is None else fault.for_s)

    def _drop(self, fault: Fault) -> None:
        self._http.drop()
        self._push.drop()

    def _stall(self, fault: Fault) -> None:
        for_s = math.inf if fault.for_s is None else fault.for_s
        self._silent_until = asyncio.get_running_loop().time() + for_s
        self._push.mute(fault.for_s)

    def _restart(self, fault: Fault) -> None:
        """The program ends and returns: login and subscriptions are lost, the broker's orders and ledger stay."""
        self._backend.session.end("none")
        self._drop(fault)
        self._push.forget()
        self._shut(RESTART_S if fault.for_s is None else fault.for_s)

    def _fill_while_away(self, fault: Fault) -> None:
        """Cut every client off and fill: nobody hears the push."""
        desk = self._backend.desk
        working = [order.id for order in desk.orders.values() if order.active]
        order_id = fault.order or (working[-1] if working else None)
        if order_id is None or order_id not in desk.orders:
            logger.warning("brokersim: fill_while_away finds no working order %s", order_id or "")
            return
        self._drop(fault)
        try:
            desk.fill_now(order_id)
        except Refused as refused:
            logger.warning("brokersim: fill_while_away: %s", refused.text)

    def _displace(self, fault: Fault) -> None:
        self._backend.session.end("displaced")

    def _expire(self, fault: Fault) -> None:
        self._backend.session.end("expired")

    def _shut(self, for_s: float) -> None:
        self._http.shut()
        self._push.listener.shut()
        self._shut_until = asyncio.get_running_loop().time() + for_s

    # -- one request -------------------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange) -> None:
        route = self._dispatcher.canonical(exchange.request.path)
        if route in self.received or len(self.received) < MAX_PATHS:
            self.received[route] += 1
        for _ in range(ACCEPT_TURNS):
            await asyncio.sleep(0)
        if self._silent_until is not None:
            await self._hang(exchange, self._silent_until - asyncio.get_running_loop().time())
            return
        faults = self._faults.hit(BROKER, {route, route.rpartition("/")[2], exchange.request.path}, _channels(route))
        at_phase = [fault for fault in faults if fault.do not in ANSWER_FAULTS]
        if not await self._goes_on([fault for fault in at_phase if fault.when.phase == "before"], exchange):
            return
        pushes = _HeldPushes(self._push, [fault for fault in faults if fault.do in PUSH_FAULTS])
        try:
            status, body = self._act(route, exchange, faults)
            overtaken = self._backend.switches.push_before_reply and route in MUTATIONS
            if overtaken or any(fault.mode == "before_reply" for fault in faults):
                pushes.release()
                await asyncio.sleep(PUSH_LEAD_S)
            after = [fault for fault in at_phase if fault.when.phase == "after"]
            if after:
                pushes.release()  # the broker's pushes do not wait for an answer that is late or never comes
            if not await self._goes_on(after, exchange):
                return
            kinds = {fault.do for fault in faults}
            if "lose_reply" in kinds:
                pushes.release()
                await self._hang(exchange, None)
            elif "split" in kinds:
                await exchange.reply_split(status, body)
            else:
                exchange.reply(status, body)
        finally:
            pushes.release()

    def _act(self, route: str, exchange: Exchange, faults: Sequence[Fault]) -> tuple[int, bytes]:
        self._lists.damage = {fault.do for fault in faults}
        try:
            params = self._dispatcher.read(exchange.request.method, exchange.request.body)
            return 200, self._dispatcher.success(self._dispatcher.call(route, params))
        except BadRequest as error:
            return error.status, self._dispatcher.failure(error.error)
        except GatewayError as error:
            return 200, self._dispatcher.failure(error)
        except Exception:  # a bug in one route must not end the simulator: answered as 1001
            logger.exception("brokersim: %s failed", route)
            return 200, self._dispatcher.failure(GatewayError("1001"))

    async def _goes_on(self, faults: Sequence[Fault], exchange: Exchange) -> bool:
        """Let the faults strike in turn; False when one of them has taken the request's answer away."""
        for fault in faults:
            if fault.do == "delay":
                await asyncio.sleep((fault.ms or 0) / 1000)
            elif fault.do == "drop":
                exchange.hang_up()
                return False
            elif fault.do == "stall":
                await self._hang(exchange, fault.for_s)
                return False
            elif fault.do in _REPLACEMENTS:
                exchange.reply(*_REPLACEMENTS[fault.do](self._dispatcher, fault))
                return False
            else:
                self._strike(fault)
                if exchange.is_closing:
                    return False
        return True

    async def _hang(self, exchange: Exchange, for_s: float | None) -> None:
        released = asyncio.Event()
        self._hung.add(released)
        loop = asyncio.get_running_loop()
        timer = None if for_s is None or math.isinf(for_s) else loop.call_later(for_s, released.set)
        try:
            await exchange.hang(released)
        finally:
            self._hung.discard(released)
            if timer is not None:
                timer.cancel()

    def _release_hung(self) -> None:
        for released in self._hung:
            released.set()


class _HeldPushes:
    """The order pushes of one request, held until its answer is written; released once."""

    def __init__(self, push: PushServer, faults: list[Fault]) -> None:
        self._push = push
        self._faults = faults
        self._held = True
        push.hold()

    def release(self) -> None:
        if self._held:
            self._held = False
            self._push.release(self._faults)


def _channels(route: str) -> set[str]:
    channels = {"request"}
    if route in MUTATIONS:
        channels.add("mutation")
    if route in CURSOR_LISTS:
        channels.add("list")
    return channels


def _error(dispatcher: Dispatcher, fault: Fault) -> tuple[int, bytes]:
    return 200, dispatcher.failure(GatewayError(str(fault.code), fault.text))


def _http_status(dispatcher: Dispatcher, fault: Fault) -> tuple[int, bytes]:
    return int(fault.code or 500), dispatcher.failure(GatewayError("1001"))


def _garbage(dispatcher: Dispatcher, fault: Fault) -> tuple[int, bytes]:
    return 200, b'{"ok":true,"err":"","data":{"data":'


def _oversize(dispatcher: Dispatcher, fault: Fault) -> tuple[int, bytes]:
    return 200, dispatcher.success({"padding": "0" * (MAX_BODY + 1)})


_REPLACEMENTS: dict[str, Callable[[Dispatcher, Fault], tuple[int, bytes]]] = {
    "error": _error,
    "http_status": _http_status,
    "garbage": _garbage,
    "oversize": _oversize,
}
_WHOLE: dict[str, Callable[[Door, Fault], None]] = {
    "refuse": Door._refuse,
    "drop": Door._drop,
    "stall": Door._stall,
    "restart": Door._restart,
    "fill_while_away": Door._fill_while_away,
    "displace": Door._displace,
    "expire": Door._expire,
}
