"""An event loop whose time jumps to the next timer when nothing is ready, and a disk that works inside it.

Nothing here sleeps and no other thread runs, so a script takes the same steps on every machine. What the journal hands
to its thread is done by the loop itself, one job after the other, ``disk_s`` after it was handed over: a kill may fall
before a commit or between a commit and its answer.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

FIRST = 1000.0
"""Second at which virtual time begins: not 0, so that nothing passes for "never"."""


class NothingLeft(Exception):
    """Raised when everybody waits and no timer is set: in real time that would be for ever."""


class _NoSelector(selectors.SelectSelector):
    """There are no sockets to wait for: the time that the loop would wait is over at once."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise NothingLeft
        self.passed += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. ``faults`` are what tasks and callbacks threw without anybody to take it."""

    def __init__(self, disk_s: float = 0.0) -> None:
        self._no_selector = _NoSelector()
        super().__init__(self._no_selector)
        self.disk_s = disk_s
        self.faults: list[str] = []
        self._jobs: deque[tuple[asyncio.Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
        self._dead = False
        self.set_exception_handler(self._take_fault)

    def time(self) -> float:
        return FIRST + self._no_selector.passed

    def _take_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    # ------------------------------------------------------------------ the disk

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # one kind of future is enough
        done: asyncio.Future[Any] = self.create_future()
        if self._dead:
            done.cancel()
            return done
        self._jobs.append((done, func, args))
        if self.disk_s:
            self.call_later(self.disk_s, self._work)
        else:
            self.call_soon(self._work)
        return done

    def _work(self) -> None:
        if not self._jobs:
            return  # a kill took them
        done, func, args = self._jobs.popleft()
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001  it belongs to who waits
            if not done.done():
                done.set_exception(error)
                done.exception()  # who was killed does not fetch it
        else:
            if not done.done():
                done.set_result(result)

    def end(self) -> None:
        """Close the loop with nothing left in it: a task that is thrown away unfinished would fail another test."""
        for _turn in range(100):
            tasks = asyncio.all_tasks(self)
            for task in tasks:
                task.cancel()
            self.call_soon(self.stop)
            self.run_forever()
            if not tasks:
                break
        else:
            raise AssertionError(f"tasks that do not end: {tasks}")
        self.close()

    async def kill(self, spare: set[asyncio.Task[Any]]) -> None:
        """End every task but those to spare as the end of a process does: nothing that they still want is written."""
        self._dead = True
        self._jobs.clear()
        for _turn in range(50):
            tasks = [task for task in asyncio.all_tasks(self) if task not in spare]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
        else:
            raise AssertionError(f"tasks that do not end: {tasks}")
        self._dead = False


class LoopClock:
    """The loop's time as the gateways' clock; its wall clock may be set ahead, as after a sleep of the machine."""

    def __init__(self, loop: VirtualLoop, start: datetime) -> None:
        self._loop = loop
        self._start = start
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time() - FIRST) + self.ahead

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


async def until_first(*works: Coroutine[Any, Any, object]) -> None:
    """Run them until one is done, and raise what broke it; the others are over when this returns."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
