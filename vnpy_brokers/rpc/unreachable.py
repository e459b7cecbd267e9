"""Why a client has no link, in one line a minute: the server refused it, or there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic

from vnpy_brokerkit.i18n import _

from .sockets import KEY, PROTOCOL

SAME_LINE_S = 60.0
HUNG_UP = 3
"""So often a server that has another key hangs up without a word; once, it may have ended in this moment."""


class Unreachable:
    """For the server at ``address``; ``has_keys`` tells whether this client speaks with keys, ``log`` takes a line."""

    def __init__(self, address: str, has_keys: bool, log: Callable[[str], None]) -> None:
        self._address = address
        self._has_keys = has_keys
        self._log = log
        self._hung_up = 0
        self._last_hung_up = -math.inf
        self._refused = -math.inf
        self._silent = -math.inf

    def refused(self, why: int) -> None:
        """The server did not shake hands."""
        if why == KEY:
            text = _("RPC服务器{}拒绝了本客户端的密钥；请在服务器上授权该密钥")
        elif why == PROTOCOL:
            text = _("RPC服务器{}需要密钥或密钥不符；请检查“服务器公钥”和“客户端密钥”")
        else:
            now = monotonic()
            if now - self._last_hung_up > SAME_LINE_S:
                self._hung_up = 0  # another outage: a server with another key hangs up at every try
            self._hung_up, self._last_hung_up = self._hung_up + 1, now
            if not self._has_keys or self._hung_up < HUNG_UP:
                return
            text = _("RPC服务器{}在握手时断开：服务器没有运行，或“服务器公钥”不符")
        self._hung_up = 0
        now = monotonic()
        if now - self._refused >= SAME_LINE_S:
            self._refused = now
            self._log(text.format(self._address))

    def silent(self) -> None:
        """Nobody has answered for a while; where that was a refusal it has been told."""
        now = monotonic()
        if now - self._silent >= SAME_LINE_S and now - self._refused >= 2 * SAME_LINE_S:
            self._silent = now
            text = _("连接不上RPC服务器{}，持续重试；请检查服务器是否启动、地址和密钥是否正确")
            self._log(text.format(self._address))
