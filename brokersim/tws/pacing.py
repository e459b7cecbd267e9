"""Historical data must not be asked for too often (tws-api 10): bars of up to 30 seconds have hard limits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

IDENTICAL_S = 15.0
SAME_CONTRACT_S = 2.0
SAME_CONTRACT_MOST = 6
TEN_MINUTES_S = 600.0
TEN_MINUTES_MOST = 60


@dataclass(frozen=True)
class _Asked:
    at: datetime
    monotonic: float
    request: object
    contract: object
    weight: int


class HistoricalPacing:
    """The requests for short bars of the last ten minutes.

    Time passes by the simulator's clock or by the wall, whichever is first, so that a test may move the clock.
    """

    def __init__(self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._asked: deque[_Asked] = deque()

    def violates(self, request: object, contract: object, *, double: bool) -> bool:
        """Count one request (``double``: BID_ASK weighs two); True when it comes too soon, and is not counted."""
        new = _Asked(self._now(), self._monotonic(), request, contract, 2 if double else 1)
        while self._asked and self._age(self._asked[0], new) >= TEN_MINUTES_S:
            self._asked.popleft()
        ages = [(self._age(old, new), old) for old in self._asked]
        if any(age < IDENTICAL_S and old.request == request for age, old in ages):
            return True
        same = sum(old.weight for age, old in ages if age < SAME_CONTRACT_S and old.contract == contract)
        if same + new.weight >= SAME_CONTRACT_MOST:
            return True
        if sum(old.weight for old in self._asked) + new.weight > TEN_MINUTES_MOST:
            return True
        self._asked.append(new)
        return False

    def _age(self, old: _Asked, new: _Asked) -> float:
        return max((new.at - old.at).total_seconds(), new.monotonic - old.monotonic)
