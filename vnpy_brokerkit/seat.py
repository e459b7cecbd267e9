"""Who sits in a gateway: one session at a time, and each gives way to the next whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from .errors import BrokerError
from .health import Condition, Lamp
from .i18n import _
from .session import Session

Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]


class Seat:
    """The session of one gateway, from its connect() to the next one or to close(). For the loop thread."""

    def __init__(self, spawn: Spawn, log: Callable[[str], None]) -> None:
        self._spawn = spawn
        self._log = log
        self.session: Session | None = None
        self._runner: asyncio.Task[None] | None = None
        self._change = asyncio.Lock()
        """Held while one session gives way to another."""
        self._problem = ""
        """Why the last connect() made no session, in words."""

    def begin(self) -> None:
        """A loop has begun; what waits belongs to one loop."""
        self._change = asyncio.Lock()

    async def give(self, make: Callable[[], Session], *, leave: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Put a new session here once ``leave`` has ended what was before; its False says that none is wanted now."""
        async with self._change:
            if not await leave():
                return
            self._problem = ""
            try:
                self.session = make()
            except BrokerError as error:
                self._problem = str(error)
                self._log(self._problem)
            else:
                self._runner = self._spawn(self.session.run(), "session")

    async def leave(self) -> None:
        """End the session and let go of what it holds."""
        runner, self._runner = self._runner, None
        while runner and not runner.done():
            # Asked again now and then: a cancel that something inside has lost must not hold up the next connect().
            runner.cancel()
            await asyncio.wait({runner}, timeout=1)
        session, self.session = self.session, None
        if session:
            await session.release()

    def condition(self, *, shorts: bool) -> Condition:
        """Say how the session and its channels are."""
        session, runner = self.session, self._runner
        if session is None:
            words = self._problem or _("尚未连接；请在“系统”菜单中连接")
            return Condition(Lamp.FAILED if self._problem else Lamp.OFF, words, shorts=shorts)
        condition = session.condition()
        if session.failure:
            return replace(condition, lamp=Lamp.FAILED, words=session.failure, next_try=None)
        if runner is None or runner.done():
            return replace(condition, lamp=Lamp.FAILED, words=_("连接已中止，原因见日志；请重新连接"), next_try=None)
        return condition
