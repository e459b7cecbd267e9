"""Where faults meet the TWS wire: at each request that is read, at each message that is pushed, and by themselves.

A *request* is one message of a client, everything that its handler sends back to that client is its *answer*. Faults
at a request name it (``placeOrder``), or strike by their channel. What the simulator sends unasked, and what an order
request brings about, are *pushes*: ``openOrder``, ``orderStatus``, ``execDetails``, ``commissionReport`` are order
pushes, ticks and the others are pushes. The answers to other requests are no messages of their own to a fault.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from brokersim.faults import Fault, FaultRegistry
from brokersim.http_server import pieces
from brokersim.tws.fault_targets import House, Line, Orders

BROKER = "tws"
RESTART_S = 1.0
"""How long a restart takes, unless the fault says."""
RESET_S = 60.0
"""How long the nightly reset lasts, unless the fault says."""
LATE_MS = 500
"""How late a late push is, unless the fault says."""
COMPANION_S = 0.3
"""How long a reordered or joined message waits for the next one before it goes alone."""
MUTATIONS = frozenset({"placeOrder", "cancelOrder", "reqGlobalCancel", "exerciseOptions"})
BESIDE = frozenset({"reqHistoricalData", "reqHistoricalTicks", "reqHeadTimeStamp"})
"""TWS reads history beside everything else: a slow answer holds up nothing that comes after its request."""
ORDER_PUSHES = frozenset({"openOrder", "orderStatus", "execDetails", "commissionReport", "orderBound"})
EXECUTION_PUSHES = frozenset({"execDetails", "commissionReport"})
NO_SECURITY = "No security definition has been found for the request"

GARBAGE = b"\x00\x00\x00\x193\x00not-a-number\x00\xff\xfe\x00broken\x00"
"""A well framed message whose fields are no message: too few, and not ASCII."""
OVERSIZE = b"\x7f\xff\xff\xff4\x002\x00"
"""A frame that announces 2 GB; the official client takes 16 MB at most (tws-api 2.1)."""

ANSWER_FAULTS = frozenset({"split", "join", "lose_reply", "push", "hold"})
"""Faults that change how a request is answered or carried out; the others strike at their phase."""

logger = logging.getLogger(__name__)


@dataclass
class _Answer:
    """One request being carried out: whose, and what faults do to what it sends back."""

    line: Line
    is_mutation: bool
    kinds: frozenset[str] = frozenset()
    pushes: tuple[Fault, ...] = ()
    executions_first: bool = False
    kept: list[tuple[str, bytes]] = field(default_factory=list)


_answering: ContextVar[_Answer | None] = ContextVar("brokersim_tws_answering", default=None)

NOTICES: dict[int, str] = {
    1100: "Connectivity between IBKR and Trader Workstation has been lost.",
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IBKR and Trader Workstation has been restored - data maintained.",
    2103: "Market data farm connection is broken:usfarm",
    2104: "Market data farm connection is OK:usfarm",
    2105: "HMDS data farm connection is broken:ushmds",
    2106: "HMDS data farm connection is OK:ushmds",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    2157: "Sec-def data farm connection is broken:secdefil",
    2158: "Sec-def data farm connection is OK:secdefil",
    10197: "No market data during competing live session",
    201: "Order rejected - reason:The simulated broker was told to reject it.",
    202: "Order Canceled - reason:",
    399: "Order Message:\nWarning: your order will not be placed at the exchange until the next regular session.",
    404: "Order held while securities are located.",
    10349: "Order TIF was set to DAY based on order preset.",
}
"""The words of a notice whose fault gives none (tws-api 9)."""
DATA_LOST = 1101
CONNECTION_CODES = range(1100, 2170)
"""Codes that concern no order or request."""
DEPTH_RESET = 317


class FaultPoints:
    """The fault table of the TWS half (design 7). One per simulated TWS."""

    def __init__(self, registry: FaultRegistry, house: House, orders: Orders) -> None:
        self._registry = registry
        self._house = house
        self._orders = orders
        self._reset_until: float | None = None
        self._overtaken: list[tuple[Line, bytes]] = []
        self._unjoined: list[tuple[Line, bytes]] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._beside: set[asyncio.Task[None]] = set()

    # -- requests ----------------------------------------------------------------------------------

    async def request(self, line: Line, name: str, request_id: int, act: Callable[[], Awaitable[None]]) -> None:
        """Let ``act`` carry out one request of ``line``, with the faults that strike at it.

        ``request_id``: the order or request id that the request carries, -1 if it has none.
        """
        if self._reset_until is not None and name != "startApi":
            line.error(request_id, 200, NO_SECURITY)
            return
        is_mutation = name in MUTATIONS
        faults = self._registry.hit(BROKER, {name}, {"request", "mutation"} if is_mutation else {"request"})
        if name not in BESIDE or not any(fault.do == "delay" for fault in faults):
            await self._carry_out(line, name, request_id, act, faults)
            return

        async def act_if_there() -> None:
            if line in self._house.lines():
                await act()

        work = self._carry_out(line, name, request_id, act_if_there, faults)
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _carry_out(
        self, line: Line, name: str, request_id: int, act: Callable[[], Awaitable[None]], faults: Sequence[Fault]
    ) -> None:
        is_mutation = name in MUTATIONS
        at_phase = [fault for fault in faults if fault.do not in ANSWER_FAULTS]
        for fault in at_phase:
            if fault.when.phase == "before" and not await self._goes_on(fault, line, request_id):
                return
        pushes = tuple(fault for fault in faults if fault.do == "push")
        kinds = frozenset(fault.do for fault in faults)
        answer = _Answer(line, is_mutation, kinds, pushes, any(fault.mode == "before_reply" for fault in pushes))
        with self._scope(answer), self._held("hold" in kinds):
            await act()
        for fault in at_phase:
            if fault.when.phase == "after" and not await self._goes_on(fault, line, request_id):
                return

    async def _goes_on(self, fault: Fault, line: Line, request_id: int) -> bool:
        """Let a fault strike at a request; False when it is not carried out or answered any more."""
        if fault.do == "delay":
            await asyncio.sleep((fault.ms or 0) / 1000)
        elif fault.do == "drop":
            line.abort()
            return False
        elif fault.do == "stall":
            line.mute(fault.for_s)
            return False
        elif fault.do in _BROKEN:
            line.write([_BROKEN[fault.do]])
            return False
        elif fault.do == "error":
            code = _number(fault.code)
            line.error(request_id, code, fault.text or NOTICES.get(code, f"Simulated error {code}"))
            return False
        elif fault.do == "notice" and fault.order is None and request_id != -1:
            self._notice_at(fault, line, request_id)
        else:
            self._strike(fault)
        return True

    def _notice_at(self, fault: Fault, line: Line, request_id: int) -> None:
        """A notice at a request: about its order or its subscription, unless the code concerns the connection."""
        code = _number(fault.code)
        text = fault.text or NOTICES.get(code, f"Simulated notice {code}")
        order_id = self._orders.id_of(line.client_id, request_id)
        if code in CONNECTION_CODES:
            self._notice(fault)
        elif order_id is not None:
            self._orders.notice(code, text, order_id)
        else:
            line.error(request_id, code, text)

    @contextmanager
    def _scope(self, answer: _Answer) -> Iterator[None]:
        token = _answering.set(answer)
        try:
            yield
        finally:
            _answering.reset(token)
            kept, answer.kept = answer.kept, []
            executions = [data for name, data in kept if name in EXECUTION_PUSHES]
            rest = [data for name, data in kept if name not in EXECUTION_PUSHES]
            for data in [*executions, *rest]:
                self._send(answer.line, [data])

    @contextmanager
    def _held(self, holding: bool) -> Iterator[None]:
        self._orders.holding = holding
        try:
            yield
        finally:
            self._orders.holding = False

    # -- messages out ------------------------------------------------------------------------------

    def outgoing(self, line: Line, name: str, data: bytes) -> None:
        """Send one framed message to ``line``, with the faults that strike at it."""
        answer = _answering.get()
        mine = answer is not None and answer.line is line
        if answer is not None and mine and "lose_reply" in answer.kinds:
            return
        faults: list[Fault] = []
        if answer is None or not mine or answer.is_mutation:
            channels = {"push", "order_push"} if name in ORDER_PUSHES else {"push"}
            faults = self._registry.hit(BROKER, {name, "push"}, channels)
        shapes: frozenset[str] = frozenset()
        if answer is not None and mine:
            if answer.executions_first:
                answer.kept.append((name, data))
                return
            shapes = answer.kinds & _SHAPES
            if name in ORDER_PUSHES:
                faults = [*faults, *answer.pushes]
        self._deliver(line, data, [*(fault.mode or fault.do for fault in faults), *shapes], faults)

    def _deliver(self, line: Line, data: bytes, kinds: Sequence[str], faults: Sequence[Fault]) -> None:
        if "lose" in kinds:
            return
        if any(fault.do == "drop" and fault.when.phase == "before" for fault in faults):
            line.abort()
            return
        if broken := next((kind for kind in kinds if kind in _BROKEN), None):
            line.write([_BROKEN[broken]])
        elif "late" in kinds or "delay" in kinds:
            waits = [fault.ms for fault in faults if fault.ms is not None]
            self._later(max(waits, default=LATE_MS) / 1000, lambda: self._send(line, [data]))
        elif "reorder" in kinds and not any(owner is line for owner, _ in self._overtaken):
            self._put_by(self._overtaken, line, data)
        elif "join" in kinds:
            self._put_by(self._unjoined, line, data)
        else:
            twice = data + data if "duplicate" in kinds else data
            self._send(line, pieces(twice) if "split" in kinds else [twice])
        for fault in faults:
            self._strike_at_push(line, fault)

    def _strike_at_push(self, line: Line, fault: Fault) -> None:
        if fault.do == "drop":
            line.finish()
        elif fault.do == "stall":
            line.mute(fault.for_s)
        elif fault.do in _WHOLE:
            self._strike(fault)

    def _put_by(self, shelf: list[tuple[Line, bytes]], line: Line, data: bytes) -> None:
        shelf.append((line, data))
        self._later(COMPANION_S, lambda: self._send(line, []))

    def _send(self, line: Line, parts: list[bytes]) -> None:
        """Write to ``line``: what was to be joined before it, what was overtaken after it."""
        joined = _taken(self._unjoined, line)
        overtaken = _taken(self._overtaken, line)
        first = b"".join([*joined, *parts[:1]])
        if first:
            line.write([first, *parts[1:]])
        for data in overtaken:
            line.write([data])

    # -- by themselves -----------------------------------------------------------------------------

    def turn(self) -> None:
        """Let the faults strike whose moment has come, and end the nightly reset when it has lasted."""
        for fault in self._registry.due(BROKER):
            self._strike(fault)
        if self._reset_until is not None and asyncio.get_running_loop().time() >= self._reset_until:
            self._end_reset()

    def clear(self) -> None:
        """End what faults have caused and still lasts: refusing, the nightly reset, orders that wait for Transmit."""
        self._end_reset()
        self._house.reopen()
        self._orders.transmit_held()

    def stop(self) -> None:
        """Nothing that is late is sent any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for task in self._beside:
            task.cancel()
        self._overtaken.clear()
        self._unjoined.clear()

    def _strike(self, fault: Fault) -> None:
        act = _WHOLE.get(fault.do)
        if act is None:
            logger.warning("brokersim: fault %s cannot strike at this message, it is passed over", fault.do)
        else:
            act(self, fault)

    def _refuse(self, fault: Fault) -> None:
        self._house.shut(math.inf if fault.for_s is None else fault.for_s)

    def _drop(self, fault: Fault) -> None:
        for line in list(self._house.lines()):
            line.abort()

    def _stall(self, fault: Fault) -> None:
        for line in list(self._house.lines()):
            line.mute(fault.for_s)

    def _restart(self, fault: Fault) -> None:
        """The program ends and returns: sessions and subscriptions are lost, orders, ledger and permIds stay."""
        self.stop()
        self._end_reset()
        self._drop(fault)
        self._orders.reset_ids()
        self._house.shut(RESTART_S if fault.for_s is None else fault.for_s)

    def _fill_while_away(self, fault: Fault) -> None:
        self._orders.fill_while_away(fault.order, lambda: self._drop(fault))

    def _notice(self, fault: Fault) -> None:
        code = _number(fault.code)
        text = fault.text or NOTICES.get(code, f"Simulated notice {code}")
        if fault.order is not None:
            self._orders.notice(code, text, fault.order)
            return
        if code == DEPTH_RESET:
            self._house.reset_depth()
            return
        if code == DATA_LOST:
            self._house.lose_data()
        self._tell(code, text)

    def _daily_reset(self, fault: Fault) -> None:
        self._reset_until = asyncio.get_running_loop().time() + (RESET_S if fault.for_s is None else fault.for_s)
        self._tell(1100, NOTICES[1100])

    def _end_reset(self) -> None:
        if self._reset_until is not None:
            self._reset_until = None
            self._tell(1102, NOTICES[1102])

    def _tell(self, code: int, text: str) -> None:
        for line in list(self._house.lines()):
            line.error(-1, code, text)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)


def _taken(shelf: list[tuple[Line, bytes]], line: Line) -> list[bytes]:
    """What waits on the shelf for this line, taken off it."""
    waiting = [data for owner, data in shelf if owner is line]
    shelf[:] = [(owner, data) for owner, data in shelf if owner is not line]
    return waiting


def _number(code: int | str | None) -> int:
    """A fault's code as TWS knows it; 323 (an internal error) for one that is no number."""
    try:
        return int(code or 0)
    except ValueError:
        return 323


_SHAPES = frozenset({"split", "join"})
_BROKEN: dict[str, bytes] = {"garbage": GARBAGE, "oversize": OVERSIZE}
_WHOLE: dict[str, Callable[[FaultPoints, Fault], None]] = {
    "refuse": FaultPoints._refuse,
    "drop": FaultPoints._drop,
    "stall": FaultPoints._stall,
    "restart": FaultPoints._restart,
    "fill_while_away": FaultPoints._fill_while_away,
    "notice": FaultPoints._notice,
    "daily_reset": FaultPoints._daily_reset,
}
