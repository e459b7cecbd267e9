"""The simulator put together: clock, market, brokers and control in one asyncio loop.

The same code runs behind ``python -m brokersim`` and behind :func:`brokersim.running`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from brokersim.clock import Mode, SimClock
from brokersim.control import Control
from brokersim.faults import FaultRegistry
from brokersim.half import BadCall, Half, Options, World
from brokersim.keep import Keeper
from brokersim.market import Market

TURN_S = 0.05
"""Seconds between two turns of the loop: quotes are played and faults looked at."""
CLOSING_TURNS = 3
"""Turns of the loop in which an aborted connection is surely closed."""
SLICES = 1000
"""A long move of the clock is made in at most so many steps, so that clients can read what it pushes."""
LONGEST_PLAY_S: dict[Mode, int] = {"data": 3 * 86_400, "wall": 86_400}
"""A longer move of the clock is a jump: one step. The wall's market has no nights, so its day is longer to play."""


def _vbrokers(world: World) -> Half:
    from brokersim.hstong.gateway import VbrokersHalf

    return VbrokersHalf(world)


def _tws(world: World) -> Half:
    from brokersim.tws.gateway import TwsHalf

    return TwsHalf(world)


HALVES: dict[str, Callable[[World], Half]] = {"vbrokers": _vbrokers, "tws": _tws}
"""The simulated brokers, by the names that ``--only``, faults and ``/state`` use."""


class Simulator:
    """One running simulator.

    The constructor raises :class:`BadCall` for options that make no sense, :meth:`start` PortTaken for a taken port.
    """

    def __init__(self, options: Options) -> None:
        self.clock = SimClock(options.clock, speed=options.speed)
        self._keeper = None if options.keep is None else Keeper(Path(options.keep), self.clock)
        if self._keeper is not None:
            self._keeper.wind()
            options = self._keeper.without_known(options)
        self.market = Market(self.clock, options.data, options.seed, options.speed)
        self.faults = FaultRegistry(self.clock.now)
        world = World(self.clock, self.market, self.faults, options)
        self.halves = {name: make(world) for name, make in HALVES.items() if options.only in (None, name)}
        self._control = Control(self, options.control_port) if options.control else None
        self._moving = asyncio.Lock()
        self.faults.add(options.faults)
        if self._keeper is not None:
            self._keeper.restore(self.halves)

    async def start(self) -> dict[str, object]:
        """Listen on all ports; what the ready line says."""
        try:
            for half in self.halves.values():
                half.bind()
            if self._control is not None:
                self._control.bind()
            if self._keeper is not None:
                self._keeper.begin(self.halves)
            for half in self.halves.values():
                await half.open()
            if self._control is not None:
                await self._control.open()
        except OSError:
            await self.stop()
            raise
        ready: dict[str, object] = {"ready": True}
        for half in self.halves.values():
            ready |= half.addresses()
        if self._control is not None:
            ready["control"] = self._control.url
        return ready

    async def run(self, stop: asyncio.Event) -> None:
        """Play quotes and faults until ``stop`` is set."""
        while not stop.is_set():
            if self.clock.mode == "wall":
                self.market.step()
            for half in self.halves.values():
                await half.turn()
            if self._keeper is not None:
                self._keeper.turn(self.halves)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), TURN_S)

    async def stop(self) -> None:
        """Close everything; what is to be kept has been written."""
        if self._keeper is not None:
            self._keeper.end(self.halves)
        if self._control is not None:
            await self._control.stop()
        for half in self.halves.values():
            await half.stop()

    def half(self, name: str) -> Half:
        """A half by name; :class:`BadCall` when it is not running here."""
        if name not in self.halves:
            raise BadCall(f"no broker {name!r} here: there is {', '.join(self.halves)}")
        return self.halves[name]

    def state(self) -> dict[str, Any]:
        """The truth of all halves at one instant."""
        return {name: half.state() for name, half in self.halves.items()}

    async def strike(self) -> None:
        """Let the faults strike that are due at this moment; the connections that they end are closed on return."""
        for half in self.halves.values():
            await half.turn()
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move the clock, playing in order every quote in between, and wait until it is written out."""
        async with self._moving:
            if self.clock.paused or not 0 < seconds <= LONGEST_PLAY_S[self.clock.mode]:
                self.clock.advance(seconds)
                await self._play()
                return
            begin = self.clock.now()
            steps = min(SLICES, max(1, round(seconds)))
            for step in range(1, steps + 1):
                if self.clock.mode == "data":
                    self.clock.set(begin + timedelta(seconds=seconds * step / steps))
                else:
                    self.clock.advance(seconds / steps)
                await self._play()

    async def set_clock(self, at: datetime) -> None:
        """Move the clock to an instant: forward like :meth:`advance`, back at once."""
        seconds = (at - self.clock.now()).total_seconds()
        if seconds > 0:
            await self.advance(seconds)
        self.clock.set(at)
        await self._play()

    async def _play(self) -> None:
        self.market.step()
        for half in self.halves.values():
            await half.turn()
            await half.settle()
        await asyncio.sleep(0)  # a long move leaves the other connections their turn


async def serve(options: Options, on_ready: Callable[[dict[str, object]], None], stop: asyncio.Event) -> None:
    """Run a simulator until ``stop`` is set; ``on_ready`` gets the ready line when all of it listens."""
    simulator = Simulator(options)
    ready = await simulator.start()
    try:
        on_ready(ready)
        await simulator.run(stop)
    finally:
        await simulator.stop()
