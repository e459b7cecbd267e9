"""A client's thread with one socket to the server's first port: asks, and hands each answer to who asked.

A link has two: one for orders and cancels, one for everything that may take long. Answers carry the number of their
question, so one that never comes holds up no other. A question that can't leave at once, because there is no
connection, is told so and never leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic

import msgspec
import zmq

from vnpy_brokerkit.errors import ConnectionFailed

from .messages import FAILED, Answer, Ask, Ping, Pong, read_answer, write_request
from .socket_thread import TURN_S, SocketThread
from .sockets import REFUSALS, Curve

PING_EVERY_S = 0.5
PINGS_WAITED_FOR = 20
SILENCE_S = 3.0
"""Without an answer to any ping for so long the server counts as gone."""

_read_pong = msgspec.msgpack.Decoder(Pong).decode


class Courier(SocketThread):
    """Asks the server at ``address``."""

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
        super().__init__(name, context, zmq.DEALER, address, curve, on_turn)
        self._on_refused = on_refused
        self._numbers = count(1)
        self._waiting: dict[int, Callable[[Answer], None]] = {}
        self._pinged = 0.0
        self._pings: deque[int] = deque(maxlen=PINGS_WAITED_FOR)
        self._heard = 0.0
        self.epoch = 0
        """The server's, as last heard; for any thread."""
        self.server_second = 0.0
        """The server's own clock when it answered the last ping that was answered."""
        self.up = False
        """Whether the server answers; for any thread."""

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

    def _take(self, message: bytes) -> None:
        answer = read_answer(message)
        waiting = self._waiting.get(answer.number)
        if waiting:
            waiting(answer)

    def _shake_hands(self, handshake: int) -> None:
        if handshake & REFUSALS:
            self._on_refused(handshake)

    def _go_on(self) -> float:
        """Keep the connection alive, and note when it is not."""
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
        return TURN_S

    def _on_pong(self, answer: Answer) -> None:
        self.forget(answer.number)
        if answer.state == FAILED:
            return
        pong = _read_pong(answer.body)
        self.epoch, self.server_second = pong.epoch, pong.now
        self._heard = monotonic()
        self.up = True
