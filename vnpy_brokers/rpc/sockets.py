"""ZeroMQ sockets as both ends want them, a bell that wakes a thread which waits for them, and refused handshakes."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass

import zmq

from .messages import MOST_ANSWER_BYTES, MOST_REQUEST_BYTES

HEARTBEAT_MS = 1000
SILENCE_MS = 4000
"""A peer that answers no heartbeat for so long is cut off; a client connects anew by itself."""
RECONNECT_MS = 100
MOST_RECONNECT_MS = 500
MOST_QUEUED = 100_000
"""Messages that may wait for one peer; what goes beyond is dropped, which the numbers show."""

NO_PEER = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
PROTOCOL = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
KEY = zmq.EVENT_HANDSHAKE_FAILED_AUTH
JOINED = zmq.EVENT_HANDSHAKE_SUCCEEDED
REFUSALS = NO_PEER | PROTOCOL | KEY
FOR_GOOD = (PROTOCOL, KEY)
"""After these ZeroMQ does not connect again by itself."""
ANEW_S = 2.0
"""A client then waits so long before it tries with a new socket: its key may have been let in, the server restarted."""


@dataclass(frozen=True)
class Curve:
    """Keys in ZeroMQ's Z85 text: our own pair, and the server's public one where this is a client."""

    public: str
    secret: str
    server: str = ""

    def __repr__(self) -> str:
        return f"Curve({self.public!r})"


def make_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, curve: Curve | None, address: str
) -> zmq.Socket[bytes]:
    """A socket for an address, with our limits and heartbeats; with ``curve`` it speaks to nobody but who has keys."""
    made = context.socket(kind)
    client = kind in (zmq.DEALER, zmq.SUB)
    made.setsockopt(zmq.LINGER, 0)
    if kind == zmq.XPUB:
        made.setsockopt(zmq.XPUB_MANUAL, 1)
    made.setsockopt(zmq.IPV6, int("[" in address))
    made.setsockopt(zmq.SNDHWM, MOST_QUEUED)
    made.setsockopt(zmq.RCVHWM, MOST_QUEUED)
    made.setsockopt(zmq.MAXMSGSIZE, MOST_ANSWER_BYTES if client else MOST_REQUEST_BYTES)
    made.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    made.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
    made.setsockopt(zmq.HANDSHAKE_IVL, 3 * SILENCE_MS)
    if client:
        made.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        made.setsockopt(zmq.RECONNECT_IVL_MAX, MOST_RECONNECT_MS)
        made.setsockopt(zmq.CONNECT_TIMEOUT, SILENCE_MS)
        # What cannot leave now is told at once: an order must not wait in a queue for the server's return.
        made.setsockopt(zmq.IMMEDIATE, 1)
    if curve:
        made.curve_publickey = curve.public.encode()
        made.curve_secretkey = curve.secret.encode()
        if client:
            made.curve_serverkey = curve.server.encode()
        else:
            made.curve_server = True
            made.zap_domain = b"vnpy"
    return made


class Bell:
    """Wakes a thread that polls sockets. :meth:`ring` is for any thread, the rest for the one that waits."""

    def __init__(self) -> None:
        self._hears, self._rings = socket.socketpair()
        self._hears.setblocking(False)
        self._rings.setblocking(False)

    def fileno(self) -> int:
        """What a poller watches."""
        return self._hears.fileno()

    def ring(self) -> None:
        """Wake the thread; a bell that still rings, or that is gone, is as good."""
        with contextlib.suppress(OSError):
            self._rings.send(b"\0")

    def hush(self) -> None:
        """It was heard."""
        with contextlib.suppress(OSError):
            while self._hears.recv(4096):
                continue

    def close(self) -> None:
        """Nobody waits any more."""
        self._rings.close()
        self._hears.close()


def watch_handshakes(watched: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """A socket that tells of handshakes: those that failed, and JOINED."""
    monitor: zmq.Socket[bytes] = watched.get_monitor_socket(REFUSALS | JOINED)
    return monitor


def handshakes(monitor: zmq.Socket[bytes]) -> list[int]:
    """The handshakes since the last call: NO_PEER, PROTOCOL, KEY or JOINED each."""
    found = []
    while monitor.poll(0):
        head = monitor.recv_multipart()[0]
        if len(head) == struct.calcsize("=hi"):
            # Event numbers go beyond what a signed 16 bit number holds.
            found.append(struct.unpack("=Hi", head)[0])
    return found
