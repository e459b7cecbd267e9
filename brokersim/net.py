"""Loopback listeners that can misbehave: refuse, drop, come back on the same port."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
BACKLOG = 256
ACCEPT_TURNS = 8
"""Turns of the loop in which a connection that was just accepted becomes known: one that is accepted but not known when
the server closes would stay open for ever (Python 3.12 and newer)."""

logger = logging.getLogger(__name__)


class PortTaken(OSError):
    """Another program listens on the port; the text names it and the remedy."""


class Listener:
    """One TCP port of 127.0.0.1 that stays ours from :meth:`bind` to :meth:`stop`, also while it refuses.

    While shut, the port is bound but not listening: clients are refused, and the system cannot hand the number to
    somebody else's connection (a client would then even connect to itself).
    """

    def __init__(
        self, port: int, option: str, serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ):
        self._wanted = port
        self._option = option
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.port = 0

    def bind(self) -> None:
        """Take the port (0: a free one), without listening yet; :class:`PortTaken` when another program has it."""
        try:
            self._held = _bound(self._wanted)
            self._held.listen(BACKLOG)  # on some systems only this tells that another program listens
        except OSError as error:
            self.release()
            raise PortTaken(
                f"port {self._wanted} of {HOST} is taken ({error.strerror}): end the program that holds it, "
                f"or choose another with {self._option} (0 takes a free one)"
            ) from error
        self.port = self._held.getsockname()[1]

    async def open(self) -> None:
        """Listen; does nothing when listening already."""
        if self._server is None:
            self._held = self._held or _bound(self.port)
            self._server = await asyncio.start_server(self._accepted, sock=self._held, backlog=BACKLOG)
            self._held = None

    def shut(self) -> None:
        """Refuse new connections until :meth:`open`; the standing ones stay."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        try:
            self._held = _bound(self.port)
        except OSError:  # a system that lets no port be bound while connections of it stand: open() takes it again
            logger.debug("port %s is not held while it refuses", self.port, exc_info=True)

    def drop(self) -> None:
        """Close every standing connection at once."""
        for writer in list(self._clients.values()):
            writer.transport.abort()

    def release(self) -> None:
        """Give the port back."""
        if self._held is not None:
            self._held.close()
            self._held = None

    async def stop(self) -> None:
        """Close everything, and end the tasks of all clients."""
        if self._server is not None:
            for _ in range(ACCEPT_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        self.release()
        self.drop()
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._client(reader, writer))
        self._clients[task] = writer
        task.add_done_callback(lambda done: self._clients.pop(done, None))

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):
            logger.debug("a client went away", exc_info=True)
        except Exception:  # one client's fault must not end the simulator: it is logged whole
            logger.exception("brokersim: connection ended by an error")
        finally:
            writer.close()


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":  # on Windows this option would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
