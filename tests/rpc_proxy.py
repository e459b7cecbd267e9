"""A TCP proxy between a client and the server that can be cut, and that can swallow one direction."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class Proxy:
    """Listens on a free port of loopback and passes bytes on to ``target`` (``tcp://host:port``)."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 0))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._upward: set[socket.socket] = set()
        """The clients' ends."""
        self.passes = True
        """Whether connections are taken at all."""
        self.deaf = False
        """Whether what the server says is lost: the connection stays."""
        self.mute = False
        """Whether what the client says is lost."""
        self._ending = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close every connection, and refuse new ones until :meth:`mend`."""
        self.passes = False

    def mend(self) -> None:
        """Let everything pass again."""
        self.passes = True
        self.deaf = self.mute = False

    def close(self) -> None:
        self._ending = True
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ending:
            for key, _events in self._selector.select(0.02):
                made = key.fileobj
                assert isinstance(made, socket.socket)
                if made is self._listener:
                    self._accept()
                else:
                    self._pass_on(made)
            if not self.passes:
                for end in list(self._peers):
                    self._drop(end)
        for end in list(self._peers):
            self._drop(end)
        self._selector.close()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(BlockingIOError):
            client, _address = self._listener.accept()
            if not self.passes:
                client.close()
                return
            try:
                server = socket.create_connection(self._target, 2)
            except OSError:
                client.close()
                return
            for end, other in ((client, server), (server, client)):
                end.setblocking(True)
                self._peers[end] = other
                self._selector.register(end, selectors.EVENT_READ)
            self._upward.add(client)

    def _pass_on(self, end: socket.socket) -> None:
        other = self._peers.get(end)
        if other is None:
            return
        try:
            data = end.recv(65536)
            if not data:
                raise ConnectionError("closed")
            if not (self.mute if end in self._upward else self.deaf):
                other.sendall(data)
        except OSError:
            self._drop(end)

    def _drop(self, end: socket.socket) -> None:
        for one in (end, self._peers.pop(end, None)):
            if one is not None:
                self._peers.pop(one, None)
                self._upward.discard(one)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()
