"""Runs a drawn script on real rooms and a model broker in virtual time, and judges the end; what both models share."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from hypothesis import HealthCheck, Phase, settings

from tests.model_loop import LoopClock, NothingLeft, VirtualLoop
from tests.model_outlet import Life, Outlet
from tests.model_script import Kill

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
"""Eleven in New York, and an hour before Hong Kong's midnight."""
DEADLINE_S = 240.0
LOOK_EVERY_S = 5.0
AFTERWARDS_S = 25.0
"""What is equal must stay so."""
RAM = Path("/dev/shm")


class Engine(Protocol):
    """One life of the product: see ``model_vb_engine`` and ``model_ib_engine``."""

    outlet: Outlet

    def start(self) -> None: ...
    async def close(self) -> None: ...


EngineT = TypeVar("EngineT", bound=Engine)
StepT = TypeVar("StepT")


class Failed(AssertionError):
    """Raised with what does not hold."""


def drawn(scripts: int) -> settings:
    """Settings for a test that draws so many scripts, or as many as ``MODEL_SCRIPTS`` says."""
    return settings(
        max_examples=int(os.environ.get("MODEL_SCRIPTS", scripts)),
        derandomize=True,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def run_play(disk_s: float, make: Callable[[VirtualLoop, Path], Play[Any, Any]]) -> None:
    """Run a play from its beginning to its judgement. Raises :class:`Failed`."""
    folder = Path(tempfile.mkdtemp(dir=RAM if RAM.is_dir() else None))
    loop = VirtualLoop(disk_s)
    try:
        try:
            loop.run_until_complete(make(loop, folder).run())
        except NothingLeft:
            raise Failed("everybody waits for ever") from None
        if loop.faults:
            raise Failed("\n".join(loop.faults))
    finally:
        loop.end()
        shutil.rmtree(folder)


class Play(ABC, Generic[EngineT, StepT]):
    """One script on its way."""

    engine: EngineT

    def __init__(self, loop: VirtualLoop, steps: tuple[tuple[StepT, float], ...], folder: Path) -> None:
        self._loop = loop
        self._steps = steps
        self.clock = LoopClock(loop, START)
        self._folders = (folder / str(number) for number in itertools.count())
        self.lives: list[Life] = []
        self._wanted_cancels: set[str] = set()

    def _first_folder(self) -> Path:
        first = next(self._folders)
        first.mkdir()
        return first

    async def run(self) -> None:
        self.engine.start()
        await self.clock.sleep(5.0)
        for step, pause in self._steps:
            await self._act(step)
            await asyncio.sleep(pause)
        await self._judge()

    async def _kill(self, step: Kill) -> None:
        for _turn in range(step.turns):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        folder = next(self._folders)
        await self._end_life({task} if task else set(), folder, written=step.written)
        self.lives.append(self.engine.outlet.life)
        await asyncio.sleep(step.seconds)
        self.engine = self._new_engine(folder)
        self.engine.start()

    async def _judge(self) -> None:
        self._calm()
        end = self.clock.monotonic() + DEADLINE_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            wrong = [self._busy()] if self._busy() else self._differences()
            if not wrong:
                await asyncio.sleep(AFTERWARDS_S)
                wrong = self._differences()
                break
            if self.clock.monotonic() > end:
                break
        wrong += self._never()
        wrong += await self._wrong_positions()
        if wrong:
            lines = [line for life in self._all_lives() for line in (*life.lines, "-- end of life")]
            raise Failed("\n".join([*dict.fromkeys(wrong), "log:", *lines[-30:]]))
        await self.engine.close()

    def _all_lives(self) -> list[Life]:
        return [*self.lives, self.engine.outlet.life]

    def _sums(self) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """What this life's trades make up, by local id: shares, and money."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        money: defaultdict[str, Decimal] = defaultdict(Decimal)
        for trade in self.engine.outlet.life.trades:
            sums[trade.orderid] += Decimal(str(trade.volume))
            money[trade.orderid] += Decimal(str(trade.volume)) * Decimal(str(trade.price))
        return sums, money

    async def _wrong_positions(self) -> list[str]:
        found = await self.engine.outlet.positions()
        wanted = {name: volume for name, volume in self._positions().items() if volume}
        return [] if found == wanted else [f"the journal holds {found}, not {wanted}"]

    # ------------------------------------------------------------------ what a model provides

    @abstractmethod
    async def _act(self, step: StepT) -> None:
        """Take one step."""

    @abstractmethod
    def _new_engine(self, folder: Path) -> EngineT:
        """Make the engine of a life."""

    @abstractmethod
    async def _end_life(self, spare: set[asyncio.Task[Any]], folder: Path, *, written: bool) -> None:
        """Kill the engine; ``folder`` takes what was on disk."""

    @abstractmethod
    def _calm(self) -> None:
        """The script is over: the broker behaves from now on."""

    @abstractmethod
    def _busy(self) -> str:
        """Say why it is too early to judge."""

    @abstractmethod
    def _differences(self) -> list[str]:
        """What is not yet as it must become."""

    @abstractmethod
    def _never(self) -> list[str]:
        """What must not have happened on the way."""

    @abstractmethod
    def _positions(self) -> dict[str, Decimal]:
        """What the journal must hold, by vt_symbol."""
