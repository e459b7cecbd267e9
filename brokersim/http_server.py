"""A small HTTP/1.1 server on asyncio streams, the protocol by h11.

The simulated Gateway must break its answers at the level of bytes and connections, so each request is handed to the
handler as an :class:`Exchange` on which it answers, keeps silent or hangs up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import h11

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request body; a larger one is answered 413."""
CHUNK = 65_536
SPLIT_SIZES = (1, 2, 3, 5, 8, 13, 21)
"""Sizes of the pieces, in turn, into which a split write is cut."""
SPLIT_PAUSE = 0.001
READ_AWAY_S = 0.2

logger = logging.getLogger(__name__)


def pieces(data: bytes) -> list[bytes]:
    """``data`` cut at odd places; long data gets larger pieces, so that a split never takes long."""
    scale = max(1, len(data) // 2000)
    cut, at, turn = [], 0, 0
    while at < len(data):
        size = SPLIT_SIZES[turn % len(SPLIT_SIZES)] * scale
        cut.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return cut


@dataclass(frozen=True)
class Request:
    """What was asked: method, path without its query, whole body."""

    method: str
    path: str
    body: bytes


class Exchange:
    """One request and the way to answer it, once."""

    def __init__(
        self, request: Request, protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.request = request
        self.answered = False
        self._protocol = protocol
        self._reader = reader
        self._writer = writer

    def reply(self, status: int, body: bytes) -> None:
        """Write a JSON answer in one segment, without waiting for the client to read it."""
        self._writer.write(self._encode(status, body))

    async def reply_split(self, status: int, body: bytes) -> None:
        """The same, in many small segments."""
        for piece in pieces(self._encode(status, body)):
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(SPLIT_PAUSE)

    @property
    def is_closing(self) -> bool:
        """Has the connection been closed under the request."""
        return self._writer.transport.is_closing()

    def hang_up(self) -> None:
        """Close the connection at once, without an answer."""
        self._writer.transport.abort()

    async def hang(self, released: asyncio.Event) -> None:
        """Keep the connection open and silent until the client leaves or ``released`` is set, then hang up."""
        release = asyncio.ensure_future(released.wait())
        try:
            while not release.done():
                read = asyncio.ensure_future(self._reader.read(CHUNK))
                await asyncio.wait({read, release}, return_when=asyncio.FIRST_COMPLETED)
                if not read.done():
                    read.cancel()
                elif not read.result():
                    break
        finally:
            release.cancel()
            self.hang_up()

    def _encode(self, status: int, body: bytes) -> bytes:
        self.answered = True
        return _encode(self._protocol, status, body)


def _encode(protocol: h11.Connection, status: int, body: bytes, *, close: bool = False) -> bytes:
    headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
    if close:
        headers.append(("Connection", "close"))
    response = h11.Response(status_code=status, headers=headers, reason=_reason(status))
    head = protocol.send(response) or b""
    return head + (protocol.send(h11.Data(data=body)) or b"") + (protocol.send(h11.EndOfMessage()) or b"")


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:  # a code outside the registry, asked for by a fault
        return b""


class HttpServer:
    """Serves connections of a :class:`brokersim.net.Listener`; ``refusal`` words protocol errors as a JSON body."""

    def __init__(self, handle: Callable[[Exchange], Awaitable[None]], refusal: Callable[[str], bytes]) -> None:
        self._handle = handle
        self._refusal = refusal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, in turn, until it closes."""
        protocol = h11.Connection(h11.SERVER)
        while True:
            try:
                request = await _read(protocol, reader, writer)
            except h11.RemoteProtocolError as error:
                if protocol.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    writer.write(_encode(protocol, error.error_status_hint, self._refusal(str(error)), close=True))
                    await writer.drain()
                return
            if request is None:
                return
            exchange = Exchange(request, protocol, reader, writer)
            await self._handle(exchange)
            if not exchange.answered:
                return
            await writer.drain()
            if protocol.our_state is h11.MUST_CLOSE:
                return
            protocol.start_next_cycle()


async def _read(protocol: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request, or None when the client has closed; h11.RemoteProtocolError when it is no HTTP."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            if protocol.they_are_waiting_for_100_continue:
                writer.write(protocol.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            protocol.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                await _read_away(reader)
                raise h11.RemoteProtocolError("request body too large", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            path = head.target.decode("latin-1").partition("?")[0]
            return Request(head.method.decode("latin-1"), path, bytes(body))
        else:  # ConnectionClosed, or PAUSED after an upgrade that we do not speak
            return None


async def _read_away(reader: asyncio.StreamReader) -> None:
    """Take in what the client is still sending, a bounded time: closing over unread data would destroy the answer."""

    async def read() -> None:
        while await reader.read(CHUNK):
            pass

    try:
        await asyncio.wait_for(read(), READ_AWAY_S)
    except asyncio.TimeoutError:  # it sends on, or waits for the answer: either way it has had its time
        logger.debug("a client sent too large a body")
