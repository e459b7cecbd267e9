"""One thread with one asyncio loop: calls go in from any thread, and nothing that they throw stops it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

STOP_MOST = 0.4
"""Seconds that the thread gets to end, however long its last work took."""


class LoopThread:
    """The thread is started by the first call that is posted, and again by the first one after :meth:`end`.

    ``on_fault`` is called with what a call or a task has thrown, ``on_start`` in the loop when it begins; both in the
    loop thread. Nothing locks, the start apart.
    """

    def __init__(self, name: str, on_fault: Callable[[BaseException], None], on_start: Callable[[], None]) -> None:
        self._name = name
        self._on_fault = on_fault
        self._on_start = on_start
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None
        """None while there is none: never started, or ended."""
        self.closing = False
        """Whether calls no longer start it."""

    @property
    def is_alive(self) -> bool:
        """Whether there is a thread to be ended."""
        return self.loop is not None and self._thread is not None and self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is the thread itself."""
        return threading.current_thread() is self._thread

    # ------------------------------------------------------------------ any thread

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Hand a call to the loop, and return at once."""
        loop = self.loop
        if loop is None:
            if self.closing:
                return
            loop = self._start()
        with contextlib.suppress(RuntimeError):  # closed meanwhile: nobody is left to serve the call
            loop.call_soon_threadsafe(self._run_posted, call, args)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Start a coroutine whose caller waits for it in another thread; None, and it is closed, without a loop."""
        loop = self.loop
        if loop is not None:
            try:
                return asyncio.run_coroutine_threadsafe(work, loop)
            except RuntimeError:  # closed in this moment
                pass
        work.close()
        return None

    def end(self, last: Callable[[threading.Event], Coroutine[Any, Any, None]], seconds: float) -> None:
        """Let ``last`` end everything, which sets its event when it is done, and stop; all within ``seconds``.

        ``last`` gets half a second less than that. May be called without a thread.
        """
        loop, thread = self.loop, self._thread
        if loop is None or thread is None or not thread.is_alive():
            return
        done = threading.Event()
        with contextlib.suppress(RuntimeError):  # the loop may have ended by itself in this very moment
            loop.call_soon_threadsafe(lambda: self.spawn(last(done), "close"))
        begun = loop.time()
        done.wait(seconds - 0.5)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        thread.join(max(STOP_MOST, seconds - (loop.time() - begun) - 0.1))
        self.loop = self._thread = None

    # ------------------------------------------------------------------ the loop thread

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task; what it throws is told and ends nothing else."""
        task = asyncio.get_running_loop().create_task(self._guarded(work), name=f"{self._name}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first turn never awaits its work: nobody else would close that.
        task.add_done_callback(lambda _done: work.close())
        return task

    async def _guarded(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  one bad task must not end the others; it is told
            self._on_fault(error)

    def _run_posted(self, call: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            call(*args)
        except Exception as error:  # noqa: BLE001  one bad call must not stop the loop; it is told
            self._on_fault(error)

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run, args=(self.loop,), name=f"{self._name}-loop", daemon=True
                )
                self._thread.start()
                self.loop.call_soon_threadsafe(self._on_start)
            return self.loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            leftovers = asyncio.all_tasks(loop)
            for task in leftovers:
                task.cancel()
            if leftovers:
                loop.run_until_complete(asyncio.wait(leftovers, timeout=0.5))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
