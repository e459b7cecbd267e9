"""ib_async's client with a guard on both sides: it sends evenly, and does not trust the length that a peer claims."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

from ib_async.client import Client

LONGEST_FRAME = 0xFFFFFF
"""Bytes that the official client accepts in one frame (section 2.1); a longer claim is no TWS."""

BURST = 20
RATE = 24
"""Messages at once, and a second after that: TWS takes 50 in a second (section 10). In any 1.25 seconds no more than
that go out, so that a connection which holds them back for a quarter of a second breaks no limit."""
URGENT = ("3\0", "4\0", "58\0")
"""placeOrder, cancelOrder, reqGlobalCancel."""


class GuardedClient(Client):
    """ib_async's client, which trusts the length that a peer claims, and sends 45 messages at once and 45 more a second
    later: where the road holds the first ones back for a moment, TWS counts more than 50 in a second. This one does
    not trust, and sends evenly: orders and cancels before everything else that waits."""

    def __init__(self, wrapper: Any) -> None:
        super().__init__(wrapper)  # type: ignore[no-untyped-call]  # ib_async is untyped here
        self.handed = 0
        """How many messages it was given to send."""
        self._credit = float(BURST)
        self._credited_at = 0.0
        self._urgent = 0
        self._next: asyncio.TimerHandle | None = None

    @property
    def gone(self) -> int:
        """How many of the messages that it was given have gone to the socket."""
        return self.handed - len(self._msgQ)

    def sendMsg(self, msg: str) -> None:
        self.handed += 1
        if msg.startswith(URGENT):
            self._urgent = min(self._urgent, len(self._msgQ))
            self._msgQ.insert(self._urgent, msg)
            self._urgent += 1
        else:
            self._msgQ.append(msg)
        if self._next is None:
            self._send_waiting()

    def _send_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._next = None
        self._credit = min(BURST, self._credit + (now - self._credited_at) * RATE)
        self._credited_at = now
        while self._msgQ and self._credit >= 1:
            self._credit -= 1
            self._urgent = max(0, self._urgent - 1)
            self.conn.sendMsg(self._prefix(self._msgQ.popleft().encode()))  # type: ignore[no-untyped-call]
        if self._msgQ:
            self._next = loop.call_later((1 - self._credit) / RATE, self._send_waiting)

    def _onSocketHasData(self, data: bytes) -> None:
        head = self._data[:4] + data[: max(0, 4 - len(self._data))]
        if len(head) >= 4 and struct.unpack(">I", head[:4])[0] > LONGEST_FRAME:
            self.wrapper.on_bad_frame()
            self.disconnect()  # type: ignore[no-untyped-call]  # ib_async is untyped here
            return
        super()._onSocketHasData(data)  # type: ignore[no-untyped-call]  # ib_async is untyped here
