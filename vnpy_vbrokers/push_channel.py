"""The push channel to the OpenAPI Gateway: it is made anew for ever, and says when it came back and when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.errors import BrokerError, ProtocolError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import Patience
from vnpy_brokerkit.timing import Timing
from vnpy_brokerkit.waiting import first_of

from .wire.push import FrameReader, PushEvent, open_push

if TYPE_CHECKING:
    from .connection import Address

PAUSE_MOST = 0.5
"""Seconds between the loss of a channel and the first try to make it anew, at most."""


class PushChannel:
    """One channel after the other. ``http_up`` tells whether the HTTP channel is: where both are down, that one's line
    says it all. ``on_event`` gets each decoded event, ``on_back`` is called when a channel follows a lost one,
    ``on_lost`` when one is lost.
    """

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock,
        timing: Timing,
        outage: Patience,
        log: Callable[[str], None],
        http_up: Callable[[], bool],
        on_event: Callable[[PushEvent], None],
        on_back: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._address = address
        self._clock = clock
        self._timing = timing
        self._outage = outage
        self._patience = Patience(timing.repeat_line, clock)
        self._log = log
        self._http_up = http_up
        self._on_event = on_event
        self._on_back = on_back
        self._on_lost = on_lost
        self.up = False
        self.heard: float | None = None
        """Monotonic second of the last frame."""
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        """Set when the port is probably there again."""
        self._writer: asyncio.StreamWriter | None = None
        self._dropped = False
        """Whether we ended the present channel ourselves."""

    async def ready(self) -> None:
        """Return when there is a channel; where one is waited for, it is tried at once."""
        self._wanted.set()
        await self._ready.wait()

    async def run(self) -> None:
        """Have a channel until cancelled."""
        first = True
        refused = 0
        while True:
            try:
                reader, writer = await open_push(
                    self._address.push_host, self._address.push_port, self._timing.connect_timeout
                )
            except BrokerError as error:
                refused += 1
                # Where HTTP is down too, its own line says it all: a program that ends takes both along.
                if refused > 1 and self._http_up() and self._outage.may_say("push"):
                    self._log(
                        _("无法连接推送端口{}:{}（{}），改用轮询；请确认“推送端口”，将自动重连").format(
                            self._address.push_host, self._address.push_port, error.text
                        )
                    )
                self._wanted.clear()
                await first_of(self._clock.sleep(self._timing.reconnect), self._wanted.wait())
                continue
            self.up = True
            self._writer, self._dropped = writer, False
            self._ready.set()
            refused = 0
            self._outage.forget("push")
            if not first:
                if self._http_up():
                    self._log(_("推送已恢复"))
                # What was pushed in the gap is gone, and a Gateway that came back has forgotten the subscriptions.
                self._on_back()
            first = False
            try:
                await self._read(reader)
            finally:
                self.up = False
                self._ready.clear()
                writer.close()
            self._on_lost()
            await self._clock.sleep(min(self._timing.reconnect, PAUSE_MOST))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        frames = FrameReader()
        while True:
            try:
                data = await reader.read(65536)
            except OSError as error:
                self._log(_("推送连接中断（{}），将自动重连").format(error.strerror or type(error).__name__))
                return
            if not data:
                if not self._dropped and self._patience.may_say("push-end"):
                    self._log(_("推送连接被Gateway关闭，将自动重连"))
                return
            self.heard = self._clock.monotonic()
            try:
                for event in frames.feed(data):
                    self._on_event(event)
            except ProtocolError as error:
                self._log(error.text)
                return

    def drop(self) -> None:
        """Give up a channel that may be dead; it is made anew. Who calls this has said why."""
        if self._writer:
            self._dropped = True
            self._writer.close()
