"""The TWS port: connections, the handshake, client ids, and handing each message to the one who answers it
(tws-api 2, 10, 12)."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from zoneinfo import ZoneInfo

from brokersim.net import HOST, Listener
from brokersim.tws.client import Client
from brokersim.tws.faults import FaultPoints
from brokersim.tws.framing import FieldError, FrameError, Frames, Reader, encode, fields_of
from brokersim.tws.hub import Handler, Hub, Room
from brokersim.tws.names import REQUESTS, START_API, request_name
from brokersim.tws.rate import WINDOW_S, MessageRate

SERVER_VERSION = 178
OLDEST_CLIENT = 157
MAX_CLIENTS = 32
PREFIX = b"API\0"
MAX_NAMES = 1000
"""How many different unknown message ids are counted one by one."""
SETTLE_S = 2.0
"""How long :meth:`Door.settle` and a last message wait for a client to read."""
STALL_S = 0.25
"""When the simulator's loop stood still longer than this, a burst of messages says nothing about its sender."""
SERVER_ZONES = {
    "EST": "America/New_York",
    "Central European Standard Time": "Europe/Berlin",
    "Hongkong": "Asia/Hong_Kong",
}
FARM_NOTICES = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
CLIENT_ID_IN_USE = "Unable connect as the client id is already in use. Retry with a unique client id."

_VERSIONS = re.compile(r"v(\d{1,6})(?:\.\.(\d{1,6}))?(?: .*)?", re.DOTALL)

logger = logging.getLogger(__name__)


class Door:
    """The port and everybody who is connected to it."""

    def __init__(self, hub: Hub, port: int) -> None:
        self.received: Counter[str] = Counter()
        self.lost_data: list[Callable[[], None]] = []
        """Called when every market data subscription is lost."""
        self.reset_books: list[Callable[[], None]] = []
        """Called when every market depth begins anew."""
        self._hub = hub
        self._listener = Listener(port, "--tws-port", self._serve)
        self._numbers = itertools.count(1)
        self._clients: set[Client] = set()
        self._rooms: Sequence[Room] = ()
        self._handlers: dict[int, Handler] = {}
        self._faults: FaultPoints | None = None
        self._shut_until: float | None = None
        self._last_turn = 0.0
        self._stood_still_at = -math.inf

    def furnish(self, rooms: Sequence[Room], faults: FaultPoints) -> None:
        """Who answers, and what goes wrong; before :meth:`open`."""
        self._rooms = rooms
        self._handlers = {number: handler for room in rooms for number, handler in room.handlers().items()}
        self._faults = faults

    # -- the port ----------------------------------------------------------------------------------

    def bind(self) -> None:
        self._listener.bind()

    async def open(self) -> None:
        self._last_turn = asyncio.get_running_loop().time()
        await self._listener.open()

    @property
    def address(self) -> str:
        return f"{HOST}:{self._listener.port}"

    async def turn(self) -> None:
        """Take connections again when refusing has lasted long enough."""
        last, self._last_turn = self._last_turn, asyncio.get_running_loop().time()
        if self._last_turn - last > STALL_S:
            self._stood_still_at = self._last_turn
        if self._shut_until is not None and self._last_turn >= self._shut_until:
            self._shut_until = None
            await self._listener.open()

    async def settle(self) -> None:
        """Wait, a bounded time, until the clients have been written everything."""
        waits = [asyncio.ensure_future(client.idle.wait()) for client in self._clients if not client.idle.is_set()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=SETTLE_S)
            for wait in late:
                wait.cancel()

    async def stop(self) -> None:
        for client in self._clients:
            client.end()
        await self._listener.stop()

    # -- what faults do to it ----------------------------------------------------------------------

    def lines(self) -> Collection[Client]:
        """Every standing connection."""
        return [client for client in self._clients if not client.closed]

    def shut(self, for_s: float) -> None:
        """Refuse new connections for so long (infinity: until :meth:`reopen`); the standing ones stay."""
        self._listener.shut()
        self._shut_until = asyncio.get_running_loop().time() + for_s

    def reopen(self) -> None:
        """Take connections again, and close those that were left half-open."""
        if self._shut_until is not None:
            self._shut_until = -math.inf
        for client in self.lines():
            if client.muted:
                client.abort()

    def lose_data(self) -> None:
        """Forget every market data subscription, as after 1101."""
        for lost in self.lost_data:
            lost()

    def reset_depth(self) -> None:
        """Begin every market depth anew, as 317 says."""
        for reset in self.reset_books:
            reset()

    # -- one connection ----------------------------------------------------------------------------

    async def _serve(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._faults is not None
        client = Client(next(self._numbers), writer, self._faults.outgoing)
        self._clients.add(client)
        loop = asyncio.get_running_loop()
        writing = loop.create_task(client.write_out())
        reading = loop.create_task(self._converse(client, stream))
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and client.closed:
                await asyncio.wait({writing}, timeout=SETTLE_S)  # what says why it is closed
        finally:
            self._gone(client)
            writing.cancel()
            reading.cancel()
            results = await asyncio.gather(writing, reading, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _gone(self, client: Client) -> None:
        self._clients.discard(client)
        client.end()
        if self._hub.clients.get(client.client_id) is client:
            del self._hub.clients[client.client_id]
        for room in self._rooms:
            room.forget(client)

    async def _converse(self, client: Client, stream: asyncio.StreamReader) -> None:
        """Read and carry out messages, in order, until the client closes or is closed."""
        try:
            if await stream.readexactly(len(PREFIX)) != PREFIX:
                logger.warning("brokersim: a connection to the TWS port does not begin with API, it is closed")
                return
        except asyncio.IncompleteReadError:
            return
        arrived: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        receiving = asyncio.get_running_loop().create_task(_receive(stream, arrived))
        rate = MessageRate()
        try:
            while (message := await arrived.get()) is not None and not client.closed:
                at, payload = message
                if client.muted:
                    continue
                if not client.server_version:
                    self._agree(client, payload)
                else:
                    await self._carry_out(client, payload, at, rate)
        finally:
            receiving.cancel()

    def _agree(self, client: Client, payload: bytes) -> None:
        """The handshake: our version for theirs, or the end (tws-api 2.2, 2.3)."""
        match = _VERSIONS.fullmatch(payload.decode("ascii", "replace"))
        oldest, newest = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if newest < OLDEST_CLIENT or oldest > SERVER_VERSION:
            logger.warning("brokersim: an API client offers versions %s to %s, it is closed", oldest, newest)
            client.finish()
            return
        client.server_version = min(SERVER_VERSION, newest)
        zone = self._hub.switches.server_zone
        now = self._hub.clock.now().astimezone(ZoneInfo(SERVER_ZONES[zone]))
        client.write([encode(client.server_version, f"{now:%Y%m%d %H:%M:%S} {zone}")])

    # -- one message -------------------------------------------------------------------------------

    async def _carry_out(self, client: Client, payload: bytes, at: float, rate: MessageRate) -> None:
        assert self._faults is not None
        fields = fields_of(payload)
        message_id = int(fields[0]) if fields[0].isdecimal() and len(fields[0]) < 6 else -1
        name = request_name(message_id)
        if name in self.received or len(self.received) < MAX_NAMES:
            self.received[name] += 1
        if not client.ready and message_id != START_API:
            logger.warning("brokersim: %s before startApi is passed over", name)
            return
        request_id = _request_id(message_id, fields)
        if self._is_too_fast(client, request_id, at, rate):
            return
        reader = Reader(fields)
        reader.skip()
        await self._faults.request(client, name, request_id, lambda: self._answer(client, message_id, reader))

    async def _answer(self, client: Client, message_id: int, reader: Reader) -> None:
        request_id = _request_id(message_id, reader.fields)
        handler = self._start if message_id == START_API else self._handlers.get(message_id)
        if handler is None:
            client.error(request_id, 505, f"Fatal Error: Unknown message id. {reader.fields[0][:20]}")
            return
        try:
            done = handler(self._hub, client, reader)
            if done is not None:
                await done
        except FieldError as error:
            client.error(request_id, 320, f"Error reading request. {error.text}")
        except Exception:  # a bug in one handler must not end the simulator: answered as 323
            logger.exception("brokersim: %s failed", request_name(message_id))
            client.error(request_id, 323, "Server error when processing an API client request.")

    def _is_too_fast(self, client: Client, request_id: int, at: float, rate: MessageRate) -> bool:
        most = self._hub.switches.message_rate
        sent = rate.exceeds(at, most)
        if not sent or at - self._last_turn > STALL_S or at - self._stood_still_at < WINDOW_S:
            return False
        client.error(request_id, 100, f"Max rate of messages per second has been exceeded:max={most} rec={sent}")
        patience = self._hub.switches.disconnect_after
        if patience and rate.over_for() >= patience:
            client.finish()
        return True

    def _start(self, hub: Hub, client: Client, reader: Reader) -> None:
        """startApi: the client id is taken, and the welcome goes out (tws-api 2.2)."""
        reader.skip()
        client_id = reader.integer("clientId", -1)
        if client.ready:
            client.error(-1, 501, "Already connected.")
            return
        standing = hub.clients.get(client_id)
        if standing is not None and standing.closed:
            self._gone(standing)
            standing = None
        if standing is not None:
            client.write([encode(4, 2, -1, 326, CLIENT_ID_IN_USE, "")])
            client.finish()
            return
        if client_id < 0 or len(hub.clients) >= MAX_CLIENTS:
            logger.warning("brokersim: client id %s is not taken (%s connected)", client_id, len(hub.clients))
            client.finish()
            return
        client.client_id, client.ready = client_id, True
        hub.clients[client_id] = client
        client.send(15, 1, hub.managed_accounts())
        client.send(9, 1, hub.next_order_id(client_id))
        if hub.switches.farm_notices:
            for code, text in FARM_NOTICES:
                client.error(-1, code, text)
        for welcome in hub.on_ready:
            welcome(client)


async def _receive(stream: asyncio.StreamReader, arrived: asyncio.Queue[tuple[float, bytes] | None]) -> None:
    """Hand on each payload with the time at which it arrived, and None at the end."""
    frames = Frames()
    loop = asyncio.get_running_loop()
    try:
        while data := await stream.read(65_536):
            for payload in frames.feed(data):
                arrived.put_nowait((loop.time(), payload))
    except FrameError as error:
        logger.warning("brokersim: an API client is closed: %s", error)
    except ConnectionError:
        logger.debug("an API client went away", exc_info=True)
    finally:
        arrived.put_nowait(None)


def _request_id(message_id: int, fields: Sequence[str]) -> int:
    """The order or request id that a message carries, -1 if none can be read."""
    at = REQUESTS[message_id][1] if message_id in REQUESTS else None
    if at is None or at >= len(fields):
        return -1
    try:
        return int(fields[at])
    except ValueError:
        return -1
