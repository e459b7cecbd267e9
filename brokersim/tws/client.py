"""One connected API client: who it is, and what waits to be written to it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from brokersim.http_server import SPLIT_PAUSE
from brokersim.tws.framing import Field, encode
from brokersim.tws.names import message_name

MAX_QUEUED = 16 * 1024 * 1024
"""Bytes that may wait for one client; one that lets more pile up is dropped."""

logger = logging.getLogger(__name__)

Outgoing = Callable[["Client", str, bytes], None]


class Client:
    """One connection. ``client_id`` is -1 until startApi; ``number`` is the connection's own, never used again.

    ``outgoing`` is where faults meet what :meth:`send` sends; it ends in :meth:`write`.
    """

    def __init__(self, number: int, writer: asyncio.StreamWriter, outgoing: Outgoing) -> None:
        self.number = number
        self.client_id = -1
        self.server_version = 0
        self.ready = False
        """Has it sent startApi, and been accepted."""
        self.muted = False
        """Half-open: nothing is read from it or written to it any more."""
        self.closed = False
        self.market_data_type = 1
        """What it asked for by reqMarketDataType."""
        self.idle = asyncio.Event()
        """Set while nothing waits to be written."""
        self.idle.set()
        self._writer = writer
        self._outgoing = outgoing
        self._queue: deque[Sequence[bytes]] = deque()
        self._news = asyncio.Event()
        self._waiting = 0
        self._unmute: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Client {self.number}, id {self.client_id}>"

    # -- messages ----------------------------------------------------------------------------------

    def send(self, *fields: Field) -> None:
        """One message, its id first; never blocks. Before startApi nothing is sent (tws-api 2.3)."""
        if self.ready and not self.closed:
            self._outgoing(self, message_name(int(fields[0] or 0)), encode(*fields))

    def error(self, req_id: int, code: int, text: str, reject_json: str = "") -> None:
        """Message 4, an error or a notice; ``req_id`` -1 when it concerns no request or order."""
        self.send(4, 2, req_id, code, text, reject_json)

    # -- bytes -------------------------------------------------------------------------------------

    def write(self, parts: Sequence[bytes]) -> None:
        """Queue bytes, one write per part."""
        if self.muted or self.closed:
            return
        self.idle.clear()
        self._waiting += sum(map(len, parts))
        if self._waiting > MAX_QUEUED:
            logger.warning("brokersim: API client %s does not read, it is dropped", self.client_id)
            self.abort()
            return
        self._queue.append(parts)
        self._news.set()

    def abort(self) -> None:
        """Close at once; what is queued is lost."""
        self.closed = True
        self.idle.set()
        self._writer.transport.abort()

    def finish(self) -> None:
        """Close once what is queued is written; nothing more is taken."""
        self.closed = True
        self._news.set()

    def mute(self, for_s: float | None) -> None:
        """Half-open: the socket stays, nothing is read or written any more; closed after ``for_s`` seconds."""
        self.muted = True
        self.idle.set()
        if for_s is not None and self._unmute is None:
            self._unmute = asyncio.get_running_loop().call_later(for_s, self.abort)

    async def write_out(self) -> None:
        """Write what is queued, until :meth:`finish`; whole messages that wait together go in one piece."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                parts = self._queue.popleft()
                if len(parts) == 1:
                    whole = [parts[0]]
                    while self._queue and len(self._queue[0]) == 1:
                        whole.append(self._queue.popleft()[0])
                    parts = [b"".join(whole)]
                for part in parts:
                    await self._write(part)
                    if len(parts) > 1:
                        await asyncio.sleep(SPLIT_PAUSE)
            self.idle.set()
            if self.closed:
                return

    async def _write(self, part: bytes) -> None:
        if not self.muted:
            self._writer.write(part)
            await self._writer.drain()
        self._waiting -= len(part)

    def end(self) -> None:
        """The connection is gone."""
        self.closed = True
        self.idle.set()
        if self._unmute is not None:
            self._unmute.cancel()
