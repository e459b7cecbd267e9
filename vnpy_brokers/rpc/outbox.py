"""Holds back news of an order until its id has been returned to who sent it (reference "vnpy-engine", trap 4).

vn.py's CTA engine notes an order's id after ``send_order`` returned, in the caller's thread; a fill that overtakes it
there is lost to the strategy.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic

GRACE_S = 0.05
"""From the return of send_order on: its caller then has the id, and has noted it."""
LOOK_AGAIN_S = 0.005


class Outbox:
    """What is held keeps its order, and holds back what follows. ``begin`` and ``returned`` are for any thread."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._held: deque[tuple[str, Callable[[], None]]] = deque()

    def begin(self, vt_orderid: str) -> None:
        """An id was given out that its caller does not have yet."""
        self._due[vt_orderid] = math.inf

    def returned(self, vt_orderid: str) -> None:
        """The caller gets the id now."""
        self._due[vt_orderid] = monotonic() + GRACE_S

    def push(self, vt_orderid: str, push: Callable[[], None]) -> None:
        """Push news of an order now, or when it may be told."""
        if self._held or not self._may_go(vt_orderid):
            self._held.append((vt_orderid, push))
        else:
            push()

    def empty(self) -> float | None:
        """Push what may go; return after how many seconds to come again, None where nothing is held."""
        while self._held:
            vt_orderid, push = self._held[0]
            if not self._may_go(vt_orderid):
                left = self._due[vt_orderid] - monotonic()
                return LOOK_AGAIN_S if math.isinf(left) else max(0.001, left)
            self._held.popleft()
            push()
        return None

    def _may_go(self, vt_orderid: str) -> bool:
        due = self._due.get(vt_orderid)
        if due is None:
            return True
        if due > monotonic():
            return False
        del self._due[vt_orderid]
        return True
