"""What keeps a session current, whatever the broker: rounds that survive a failure, marks, gathered wishes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from typing import Generic, TypeVar

from vnpy.trader.constant import Exchange

from .clock import Clock
from .errors import BrokerError, ConnectionFailed, LoginFailed, TimedOut
from .i18n import _
from .pacing import Patience
from .waiting import within

KeyT = TypeVar("KeyT", bound=Hashable)


class Rounds:
    """The rounds of a keeper: one that fails is told once in a while, and the next comes all the same."""

    def __init__(self, patience: Patience, log: Callable[[str], None]) -> None:
        self._patience = patience
        self._log = log

    @contextlib.asynccontextmanager
    async def surviving(self) -> AsyncIterator[None]:
        """Hold one round."""
        try:
            yield
        except (ConnectionFailed, LoginFailed, TimedOut):
            return  # the connection deals with it, and says so
        except BrokerError as error:
            if self._patience.may_say(f"read-{error.about}"):
                self._log(_("查询失败，将自动重试：{}").format(error))
        except Exception as error:  # noqa: BLE001  a fault of ours must not end what keeps the engine current
            if self._patience.may_say(f"fault-{type(error).__name__}"):
                self._log(_("内部错误：{!r}；将自动重试，请将日志反馈给开发者").format(error))


async def together(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Run what must never end by itself; raise what broke the first one that did, the others being cancelled."""
    running = list(tasks)
    try:
        done, _pending = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.cancelled():
                raise RuntimeError(_("内部任务中断"))
            task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def woken(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after a while."""
    with contextlib.suppress(asyncio.TimeoutError):
        await within(seconds, event.wait())


class Marks:
    """Positions to be marked at the last price: at most once per interval, never missing the last change."""

    def __init__(self, clock: Clock, interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._wanted = asyncio.Event()
        self._to_mark: set[str] = set()

    def price(self, vt_symbol: str) -> None:
        """An instrument has a new last price."""
        self._to_mark.add(vt_symbol)
        self._wanted.set()

    async def keep(self, mark: Callable[[str, Exchange], None]) -> None:
        """Mark for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            marked, self._to_mark = self._to_mark, set()
            for vt_symbol in marked:
                symbol, _dot, exchange = vt_symbol.rpartition(".")
                mark(symbol, Exchange(exchange))
            await self._clock.sleep(self._interval)


class Gathered(Generic[KeyT]):
    """Wishes that come together and are served together, in order and each once."""

    def __init__(self, seconds: float, serve: Callable[[list[KeyT]], None]) -> None:
        self._seconds = seconds
        self._serve = serve
        self._wanted: dict[KeyT, None] = {}

    def add(self, key: KeyT) -> None:
        """Wish for something."""
        if not self._wanted:
            asyncio.get_running_loop().call_later(self._seconds, self._hand_over)
        self._wanted[key] = None

    def _hand_over(self) -> None:
        wanted, self._wanted = list(self._wanted), {}
        self._serve(wanted)
