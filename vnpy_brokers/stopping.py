"""One request to stop, whoever makes it: Ctrl-C, SIGTERM, a time limit, a reader that went away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vnpy_brokerkit.i18n import _

from .console import say

# A gateway's close() may take 5 s by the design and vn.py's event engine another second.
CLOSE_DEADLINE_S = 15.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


class StopRequest:
    """Set once, never taken back. Every method may be called from any thread and from a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._deadline: float | None = None

    def listen(self) -> None:
        """Let Ctrl-C and SIGTERM request the stop. Called again after imports: vn.py's RPC takes Ctrl-C for itself.

        A repeated signal changes nothing. Wrappers (shells, package runners) often deliver the same Ctrl-C twice, so
        a second one must not cut off the clean end; `ends_in_time` sees to an end that hangs.
        """
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request()

    def request(self) -> None:
        """Ask everything to end."""
        self._event.set()

    def request_after(self, seconds: float) -> None:
        """Ask everything to end `seconds` from now."""
        self._deadline = time.monotonic() + seconds

    def requested(self) -> bool:
        """Whether it is time to end."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._event.set()
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until it is time to end, `seconds` at most; True when it is."""
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        self._event.wait(seconds)
        return self.requested()


@contextmanager
def signals_request(stop: StopRequest) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM request a stop; what they did before comes back afterwards."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop.listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ends_in_time(seconds: float = CLOSE_DEADLINE_S) -> Iterator[None]:
    """Inside, closing goes on; when it hangs for `seconds` the process ends with one line and exit code 1."""

    def give_up() -> None:
        say(_("退出超过 {:.0f} 秒仍未完成，强制结束。请在券商客户端核对未完成的委托。").format(seconds))
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
