"""A client's thread on one socket to the server: receives, makes calls of other threads, and begins anew where it must.

ZeroMQ connects again by itself after a cut, but not after a refusal for good; then a new socket is tried by and by.
"""

from __future__ import annotations

import logging
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic

import zmq

from .sockets import ANEW_S, FOR_GOOD, Bell, Curve, handshakes, make_socket, watch_handshakes

TURN_S = 0.25
AT_ONCE = 500
"""Messages that are taken in one turn, before calls of other threads are made."""

logger = logging.getLogger(__name__)


class SocketThread(threading.Thread, ABC):
    """Serves a socket of ``kind`` that connects to ``address``. ``on_turn`` is called about four times a second."""

    def __init__(
        self,
        name: str,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        address: str,
        curve: Curve | None,
        on_turn: Callable[[], None],
    ) -> None:
        super().__init__(name=f"rpc-{name}", daemon=True)
        self._context = context
        self._kind = kind
        self._address = address
        self._curve = curve
        self._on_turn = on_turn
        self._bell = Bell()
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._socket: zmq.Socket[bytes]
        self._monitor: zmq.Socket[bytes]
        self._poller: zmq.Poller
        self._anew: float | None = None
        """When to try with a new socket."""
        self._ending = False
        self._turned = 0.0

    # ------------------------------------------------------------------ for any thread

    def post(self, call: Callable[[], None]) -> None:
        """Make a call in this thread, soon."""
        self._posted.put(call)
        self._bell.ring()

    def end(self, seconds: float) -> None:
        """Stop, after what was posted before."""
        self._ending = True
        self._bell.ring()
        self.join(seconds)

    # ------------------------------------------------------------------ in this thread, for whoever extends it

    def _prepare(self) -> None:
        """A new socket is about to connect."""

    @abstractmethod
    def _take(self, message: bytes) -> None:
        """A message came."""

    @abstractmethod
    def _shake_hands(self, handshake: int) -> None:
        """A handshake failed, or succeeded (``sockets.JOINED``)."""

    @abstractmethod
    def _go_on(self) -> float:
        """Once a turn; returns after how many seconds to come again, at the latest."""

    # ------------------------------------------------------------------ in this thread

    def run(self) -> None:
        self._open()
        wait = TURN_S
        while not self._ending:
            ready = {source for source, _event in self._poller.poll(math.ceil(wait * 1000))}
            if self._bell.fileno() in ready:
                self._bell.hush()
            if self._socket in ready:
                self._receive()
            self._make_calls()
            if self._monitor in ready:
                self._look_at_handshakes()
            if self._anew is not None and monotonic() >= self._anew:
                self._close()
                self._open()
            wait = self._turn()
            if monotonic() - self._turned >= TURN_S:
                self._turned = monotonic()
                self._guarded(self._on_turn)
        self._make_calls()
        self._close()
        self._bell.close()

    def _turn(self) -> float:
        try:
            return min(TURN_S, self._go_on())
        except Exception:  # as in _receive
            logger.exception("RPC")
            return TURN_S

    def _open(self) -> None:
        self._anew = None
        self._socket = make_socket(self._context, self._kind, self._curve, self._address)
        self._prepare()
        self._monitor = watch_handshakes(self._socket)
        self._socket.connect(self._address)
        self._poller = zmq.Poller()
        for watched in (self._socket, self._bell, self._monitor):
            self._poller.register(watched, zmq.POLLIN)

    def _close(self) -> None:
        self._monitor.close(0)
        self._socket.close(0)

    def _look_at_handshakes(self) -> None:
        for handshake in handshakes(self._monitor):
            if handshake in FOR_GOOD:
                self._anew = monotonic() + ANEW_S
            self._guarded(partial(self._shake_hands, handshake))

    def _make_calls(self) -> None:
        with suppress(Empty):
            while True:
                self._guarded(self._posted.get_nowait())

    def _receive(self) -> None:
        for _turn in range(AT_ONCE):
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._take(message)
            except Exception:  # one bad message must not end the link; it is told in vn.py's file
                logger.exception("RPC")

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # as in _receive
            logger.exception("RPC")
