"""The push port: frames to every connected client, and the faults of that channel (vbrokers-openapi 13.6).

Each client has a bounded queue and a task of its own, so a slow one never holds up the others: it is dropped.
Pushes that a request causes wait until its HTTP answer is written (:meth:`PushServer.hold`), unless told otherwise.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime

from brokersim.faults import Fault, FaultRegistry
from brokersim.hstong import frames
from brokersim.http_server import SPLIT_PAUSE, pieces
from brokersim.net import Listener
from vnpy_vbrokers.wire.proto import push_pb2 as pb

MAX_QUEUED = 8 * 1024 * 1024
"""Bytes that may wait for one client; one that lets more pile up is dropped."""
MOST_JOINED = 256
"""So many waiting frames at most are written at once."""
SETTLE_S = 2.0
"""How long :meth:`PushServer.settle` waits for a client to read what was pushed; then it is not waited for any more."""
LATE_MS = 500
"""How late a late push is, unless the fault says."""
COMPANION_S = 0.3
"""How long a reordered or joined frame waits for the next one before it goes alone."""
BROKER = "vbrokers"

logger = logging.getLogger(__name__)


class _Client:
    """One connected client: what waits for it, and whether it gets anything at all."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._queue: deque[list[bytes]] = deque()
        self._waiting = 0
        self._wanted = asyncio.Event()
        """Set while there is something to write, or nothing more to come."""
        self._finished = False
        self.muted = False
        self.idle = asyncio.Event()
        """Set while nothing waits."""
        self.idle.set()
        self.left_behind = False
        """Has it been waited for in vain since it was last idle."""

    def send(self, parts: list[bytes]) -> None:
        """Queue one write per part."""
        if self.muted:
            return
        for part in parts:
            self._waiting += len(part)
        if self._waiting > MAX_QUEUED:
            logger.warning("brokersim: a push client does not read, it is dropped")
            self.close()
            return
        if not self._queue:
            self.idle.clear()
            self._wanted.set()
        self._queue.append(parts)

    def finish(self) -> None:
        """Close once everything that waits is written; nothing more is taken."""
        self.muted = self._finished = True
        self._wanted.set()

    async def write(self) -> None:
        """Write what is queued, until :meth:`finish`; frames that wait one behind the other go out together."""
        while self._queue or not self._finished:
            if not self._queue:
                self._wanted.clear()
                self.idle.set()
                self.left_behind = False
                await self._wanted.wait()
                continue
            whole: list[bytes] = []
            while self._queue and len(self._queue[0]) == 1 and len(whole) < MOST_JOINED:
                whole += self._queue.popleft()
            if whole:
                await self._write(b"".join(whole))
            else:
                for part in self._queue.popleft():
                    await self._write(part)
                    await asyncio.sleep(SPLIT_PAUSE)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._waiting -= len(data)

    def close(self) -> None:
        self.muted = True
        self._writer.transport.abort()


class PushServer:
    """Broadcasts frames to all clients of the push port. Serial numbers grow by one a frame."""

    def __init__(self, port: int, faults: FaultRegistry, now: Callable[[], datetime]) -> None:
        self.listener = Listener(port, "--push-port", self._serve)
        self.on_fault: Callable[[Fault], None] = lambda fault: None
        """Called with a fault that concerns the whole Gateway (restart, displace ...) and struck at a push."""
        self._faults = faults
        self._now = now
        self._serial = 0
        self._clients: set[_Client] = set()
        self._holds = 0
        self._held: list[frames.Payload] = []
        self._overtaken: list[bytes] = []
        self._unjoined: list[bytes] = []
        self._timers: set[asyncio.TimerHandle] = set()

    @property
    def is_heard(self) -> bool:
        """Does a push make any difference: is a client there, or a fault armed that may strike at it."""
        return bool(self._clients) or self._faults.armed

    def hold(self) -> None:
        """Let order pushes wait, until as many calls of :meth:`release`."""
        self._holds += 1

    def release(self, faults: Collection[Fault] = ()) -> None:
        """Let the waiting pushes go; ``faults`` are those that the request itself brings upon its pushes."""
        self._holds -= 1
        if self._holds == 0:
            held, self._held = self._held, []
            for payload in held:
                self._publish(payload, faults if isinstance(payload, pb.TradeStockDeliverNotify) else ())

    def publish(self, payload: frames.Payload) -> None:
        """Push one business message to every client."""
        if self._holds:
            self._held.append(payload)
        else:
            self._publish(payload, ())

    def mute(self, for_s: float | None) -> None:
        """Half-open: the present clients stay connected, get nothing any more, and are closed after ``for_s`` s."""
        for client in self._clients:
            client.muted = True
        if for_s is not None:
            self._later(for_s, self.close_muted)

    def close_muted(self) -> None:
        """Close the clients that a stall left silent."""
        for client in self._clients:
            if client.muted:
                client.close()

    def drop(self) -> None:
        """Close all clients at once; they count as gone from this instant."""
        self.listener.drop()
        self._clients.clear()

    def forget(self) -> None:
        """Nothing that is late, held back or queued is pushed any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._held.clear()
        self._overtaken.clear()
        self._unjoined.clear()

    async def settle(self) -> None:
        """Wait until the clients have been written everything; one that does not read is left behind after a while."""
        busy = [client for client in self._clients if not client.idle.is_set() and not client.left_behind]
        waits = {asyncio.ensure_future(client.idle.wait()): client for client in busy}
        if waits:
            _, late = await asyncio.wait(waits, timeout=SETTLE_S)
            for wait in late:
                wait.cancel()
                waits[wait].left_behind = True

    async def stop(self) -> None:
        self.forget()
        await self.listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(writer)
        self._clients.add(client)
        writing = asyncio.get_running_loop().create_task(client.write())
        reading = asyncio.get_running_loop().create_task(_read_away(reader))
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.discard(client)
            client.idle.set()
            writing.cancel()
            reading.cancel()
            await asyncio.gather(writing, reading, return_exceptions=True)

    # -- one message -------------------------------------------------------------------------------------------

    def _publish(self, payload: frames.Payload, faults: Collection[Fault]) -> None:
        self._serial += 1
        data = frames.frame(self._serial, int(self._now().timestamp() * 1000), payload)
        if not (self._faults.armed or faults):
            self._send([data])
            return
        is_order = isinstance(payload, pb.TradeStockDeliverNotify)
        channels = {"push", "order_push"} if is_order else {"push"}
        struck = self._faults.hit(BROKER, {"push", payload.DESCRIPTOR.name}, channels)
        self._deliver(data, [*faults, *struck])

    def _deliver(self, data: bytes, faults: list[Fault]) -> None:
        parts: list[bytes] | None = [data]
        after: list[Callable[[], None]] = []
        for fault in faults:
            key = fault.mode or fault.do
            if key in _REPLACED:
                parts = [_REPLACED[key](self._serial)]
            elif key == "split":
                parts = pieces(data)
            elif key == "duplicate":
                parts = [data + data]
            elif key == "reorder" and self._overtaken:
                continue  # this is the frame that overtakes the one before it
            elif key in _POSTPONED:
                parts = None
                self._postpone(key, data, fault.ms)
            elif key == "lose":
                parts = None
            elif key == "drop" and fault.when.phase == "after":
                after.append(self._finish)
            elif key == "drop":
                parts = None
                self.drop()
            elif key == "stall":
                after.append(lambda for_s=fault.for_s: self.mute(for_s))  # type: ignore[misc] # a default binds the loop's value
            elif key != "before_reply":
                after.append(lambda struck=fault: self.on_fault(struck))  # type: ignore[misc] # as above
        if parts is not None:
            self._send(parts)
        for act in after:
            act()

    def _postpone(self, key: str, data: bytes, ms: int | None) -> None:
        if key == "reorder":
            self._overtaken.append(data)
            self._later(COMPANION_S, self._flush)
        elif key == "join":
            self._unjoined.append(data)
            self._later(COMPANION_S, self._flush)
        else:
            self._later((LATE_MS if ms is None else ms) / 1000, lambda: self._send([data]))

    def _send(self, parts: list[bytes]) -> None:
        overtaken, self._overtaken = self._overtaken, []
        if self._unjoined:
            parts = [b"".join([*self._unjoined, parts[0]]), *parts[1:]]
            self._unjoined.clear()
        for client in list(self._clients):
            client.send(parts)
            for data in overtaken:
                client.send([data])

    def _flush(self) -> None:
        if self._unjoined or self._overtaken:
            self._send([b""])

    def _finish(self) -> None:
        for client in self._clients:
            client.finish()

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            act()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)


_REPLACED: dict[str, Callable[[int], bytes]] = {"garbage": frames.garbage, "oversize": frames.oversize}
_POSTPONED = frozenset({"reorder", "join", "late", "delay"})


async def _read_away(reader: asyncio.StreamReader) -> None:
    """Nothing is expected from a client (13.6): read until it closes."""
    while await reader.read(65_536):
        pass
