"""News of orders whose send_order may not have returned to its caller yet: held until it surely has.

vn.py's CTA engine notes an order's id after send_order returned, in the caller's thread; a refusal or a fill that
overtakes it there is lost to the strategy (reference "vnpy-engine", trap 4).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from .clock import Clock


class YoungOrders:
    """Passes news on in its order, that of an order of ours not before it is ``grace`` seconds old. For one loop."""

    def __init__(self, clock: Clock, grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._held: deque[tuple[float, Callable[[], None]]] = deque()

    def tell(self, born: float | None, push: Callable[[], None]) -> None:
        """Push news of an order now, or as soon as it and what came before it may be told.

        ``born`` is the monotonic second of its send_order, ``None`` for one that was placed elsewhere.
        """
        now = self._clock.monotonic()
        due = now if born is None else born + self._grace
        if due <= now and not self._held:
            push()
            return
        self._held.append((due, push))
        if len(self._held) == 1:
            asyncio.get_running_loop().call_later(due - now, self._let_go)

    def _let_go(self) -> None:
        now = self._clock.monotonic()
        while self._held and self._held[0][0] <= now:
            self._held.popleft()[1]()
        if self._held:
            asyncio.get_running_loop().call_later(self._held[0][0] - now, self._let_go)
