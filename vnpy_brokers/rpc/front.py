"""The server's first port: one thread takes all questions and sends all answers, and never waits for any of them.

What takes time is done by others, who hand their answers in by :meth:`Front.post` or a :class:`Caller`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic

import zmq

from vnpy_brokerkit.i18n import _

from .codec import encode
from .messages import DONE, FAILED, PART, VERSION, WORKING, Ask, Failure, read_request, write_answer
from .sockets import KEY, NO_PEER, PROTOCOL, Bell, handshakes, watch_handshakes

SAME_LINE_S = 60.0
TURN_MS = 500

logger = logging.getLogger(__name__)


class Caller:
    """Who asked one question, and takes its answer: for any thread."""

    def __init__(self, front: Front, identity: bytes, number: int) -> None:
        self._front = front
        self._identity = identity
        self._number = number

    def done(self, body: object, part: int = 0) -> None:
        """The whole answer, or the last part of it."""
        self.send(DONE, encode(body), part)

    def part(self, body: bytes, part: int) -> None:
        """A part of the answer, encoded already; others follow."""
        self.send(PART, body, part)

    def working(self) -> None:
        """No answer yet, but it is being worked on."""
        self.send(WORKING, encode(None))

    def failed(self, text: str, about: str = "", code: str = "") -> None:
        """There is no answer."""
        self.send(FAILED, encode(Failure(text, about, code)))

    def send(self, state: int, body: bytes, part: int = 0) -> None:
        """An answer whose body is encoded already."""
        self._front.send([self._identity, write_answer(self._number, state, part, body)])


class Front(threading.Thread):
    """Serves ``socket``, a bound ROUTER; ``published``, the other port, is watched for refused handshakes only."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        published: zmq.Socket[bytes],
        *,
        handle: Callable[[Ask, Caller], None],
        handle_plain: Callable[[bytes, Callable[[bytes], None]], None] | None,
        every_turn: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        super().__init__(name="rpc-front", daemon=True)
        self._socket = socket
        self._handle = handle
        self._handle_plain = handle_plain
        self._every_turn = every_turn
        self._log = log
        self._bell = Bell()
        self._posted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._monitors = [watch_handshakes(socket), watch_handshakes(published)]
        self._ending = False
        self._told: dict[str, float] = {}

    # ------------------------------------------------------------------ for any thread

    def post(self, call: Callable[[], None]) -> None:
        """Make a call in the front's thread."""
        self._posted.put(call)
        self._bell.ring()

    def send(self, frames: list[bytes]) -> None:
        """Send an answer; one for a client that is gone goes nowhere."""
        if threading.current_thread() is self:
            self._send(frames)
        else:
            self.post(lambda: self._send(frames))

    def end(self, seconds: float) -> None:
        """Stop, and close the sockets of this thread."""
        self._ending = True
        self._bell.ring()
        self.join(seconds)

    # ------------------------------------------------------------------ the thread

    def run(self) -> None:
        poller = zmq.Poller()
        for watched in (self._socket, self._bell, *self._monitors):
            poller.register(watched, zmq.POLLIN)
        turned = monotonic()
        while not self._ending:
            ready = {source for source, _event in poller.poll(TURN_MS)}
            if self._socket in ready:
                self._receive()
            if self._bell.fileno() in ready:
                self._bell.hush()
            self._make_calls()
            for monitor in self._monitors:
                if monitor in ready:
                    self._tell_of_handshakes(monitor)
            if monotonic() - turned >= TURN_MS / 1000:
                turned = monotonic()
                self._guarded(self._every_turn)
        self._make_calls()
        for monitor in self._monitors:
            monitor.close(0)
        self._socket.close(0)
        self._bell.close()

    def _make_calls(self) -> None:
        with suppress(Empty):
            while True:
                self._guarded(self._posted.get_nowait())

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            logger.exception("RPC")
            self.tell("fault", _("内部错误（RPC）：{!r}；请将日志反馈给开发者").format(error))

    def _receive(self) -> None:
        """Take what has come, but not for ever: answers wait."""
        for _turn in range(100):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._guarded(lambda frames=frames: self._take(frames))  # type: ignore[misc]  # mypy can't type the default

    def _take(self, frames: list[bytes]) -> None:
        identity = frames[0]
        if len(frames) == 2 and frames[1][:1] == VERSION:
            self._take_request(identity, frames[1])
        elif len(frames) == 3 and not frames[1] and self._handle_plain:
            self._handle_plain(frames[2], lambda answer: self.send([identity, b"", answer]))
        else:
            self._tell_of_garbage()

    def _take_request(self, identity: bytes, frame: bytes) -> None:
        try:
            request = read_request(frame)
        except ValueError:  # msgspec's own errors are
            self._tell_of_garbage()
            return
        caller = Caller(self, identity, request.number)
        try:
            self._handle(request.ask, caller)
        except Exception:
            caller.failed(_("服务器内部错误，见服务器日志"))
            raise

    def _send(self, frames: list[bytes]) -> None:
        with suppress(zmq.Again):  # its queue is full: the parts are numbered, and it asks again
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=len(frames[-1]) < 65536)

    # ------------------------------------------------------------------ lines

    def _tell_of_handshakes(self, monitor: zmq.Socket[bytes]) -> None:
        for failed in handshakes(monitor):
            if failed == KEY:
                self.tell("key", _("RPC拒绝了一个连接：客户端密钥未经授权；请把它的公钥放入密钥目录的 clients 文件夹"))
            elif failed in (PROTOCOL, NO_PEER):
                self.tell("handshake", _("RPC拒绝了一个连接：对方没有密钥、密钥不符，或不是 vn.py 的客户端"))

    def _tell_of_garbage(self) -> None:
        self.tell("garbage", _("RPC收到无法识别的请求，已忽略；请检查客户端的版本"))

    def tell(self, what: str, line: str) -> None:
        """One line for the log, the same not more than once a minute."""
        now = monotonic()
        if now - self._told.get(what, -SAME_LINE_S) >= SAME_LINE_S:
            self._told[what] = now
            self._log(line)
