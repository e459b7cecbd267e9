"""A client's thread with one socket to the server's first port: asks, and hands each answer to who asked.

A link has two: one for orders and cancels, one for everything that may take long. Answers carry the number of their
question, so one that never comes holds up no other. A question that can't leave at once, because there is no
connection, is told so and never leaves.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic

import msgspec
import zmq

from vnpy_brokerkit.errors import ConnectionFailed

from .messages import FAILED, Answer, Ask, Ping, Pong, read_answer, write_request
from .sockets import ANEW_S, FOR_GOOD, REFUSALS, Bell, Curve, handshakes, make_socket, watch_handshakes

TURN_MS = 250
PING_EVERY_S = 0.5
PINGS_WAITED_FOR = 20
SILENCE_S = 3.0
"""Without an answer to any ping for so long the server counts as gone."""

logger = logging.getLogger(__name__)
_read_pong = msgspec.msgpack.Decoder(Pong).decode


class Courier(threading.Thread):
    """Asks the server at ``address``. ``on_turn`` is called about four times a second in this thread."""

    def __init__(
        self,
        name: str,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        curve: Curve | None,
        *,
        on_turn: Callable[[], None],
        on_refused: Callable[[int], None],
    ) -> None:
        super().__init__(name=f"rpc-{name}", daemon=True)
        self._context = context
        self._address = address
        self._curve = curve
        self._on_turn = on_turn
        self._on_refused = on_refused
        self._bell = Bell()
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._numbers = count(1)
        self._waiting: dict[int, Callable[[Answer], None]] = {}
        self._socket: zmq.Socket[bytes]
        self._monitor: zmq.Socket[bytes]
        self._poller: zmq.Poller
        self._anew: float | None = None
        """When to try with a new socket."""
        self._ending = False
        self._pinged = 0.0
        self._pings: deque[int] = deque(maxlen=PINGS_WAITED_FOR)
        self._turned = 0.0
        self._heard = 0.0
        self.epoch = 0
        """The server's, as last heard; for any thread."""
        self.server_second = 0.0
        """The server's own clock when it answered the last ping that was answered."""
        self.up = False
        """Whether the server answers; for any thread."""

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

    # ------------------------------------------------------------------ in this thread

    def ask(self, ask: Ask, on_answer: Callable[[Answer], None]) -> int:
        """Send a question now; ``on_answer`` gets each part of its answer, in this thread.

        Returns its number. Raises :class:`ConnectionFailed` where it certainly did not leave, ValueError where the
        server would not read it.
        """
        number = next(self._numbers)
        frame = write_request(number, ask)
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            raise ConnectionFailed("not connected", about=self._address) from None
        self._waiting[number] = on_answer
        return number

    def forget(self, *numbers: int) -> None:
        """Nobody waits for these answers, or the rest of them, any more."""
        for number in numbers:
            self._waiting.pop(number, None)

    def run(self) -> None:
        self._open()
        while not self._ending:
            ready = {source for source, _event in self._poller.poll(TURN_MS)}
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
            self._keep_alive()
        self._make_calls()
        self._close()
        self._bell.close()

    def _open(self) -> None:
        self._anew = None
        self._socket = make_socket(self._context, zmq.DEALER, self._curve, self._address)
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
            if handshake & REFUSALS:
                self._guarded(partial(self._on_refused, handshake))

    def _make_calls(self) -> None:
        with suppress(Empty):
            while True:
                self._guarded(self._posted.get_nowait())

    def _receive(self) -> None:
        for _turn in range(1000):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._guarded(partial(self._take, frames))

    def _take(self, frames: list[bytes]) -> None:
        answer = read_answer(frames[-1])
        waiting = self._waiting.get(answer.number)
        if waiting:
            waiting(answer)

    def _keep_alive(self) -> None:
        now = monotonic()
        if now - self._pinged >= PING_EVERY_S:
            with suppress(ConnectionFailed):
                number = self.ask(Ping(), self._on_pong)
                self._pinged = now
                if len(self._pings) == self._pings.maxlen:
                    self.forget(self._pings[0])
                self._pings.append(number)
        if self.up and now - self._heard > SILENCE_S:
            self.up = False
        if now - self._turned >= TURN_MS / 1000:
            self._turned = now
            self._guarded(self._on_turn)

    def _on_pong(self, answer: Answer) -> None:
        self.forget(answer.number)
        if answer.state == FAILED:
            return
        pong = _read_pong(answer.body)
        self.epoch, self.server_second = pong.epoch, pong.now
        self._heard = monotonic()
        self.up = True

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # one bad answer or call must not end the link; it is told in vn.py's file
            logger.exception("RPC")
