"""How many messages a client may send in a second (tws-api 10)."""

from __future__ import annotations

from collections import deque

WINDOW_S = 1.0


class MessageRate:
    """The messages of one client within the last second, and how long it has been sending too many.

    Times are those of arrival, monotonic seconds.
    """

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self._over_since: float | None = None
        self._last_over = 0.0

    def exceeds(self, now: float, most: int) -> int:
        """Count one message; how many arrived within the second when that is more than ``most``, else 0."""
        while self._times and now - self._times[0] >= WINDOW_S:
            self._times.popleft()
        self._times.append(now)
        if not most or len(self._times) <= most:
            return 0
        if self._over_since is None or now - self._last_over > WINDOW_S:
            self._over_since = now
        self._last_over = now
        return len(self._times)

    def over_for(self) -> float:
        """Seconds without a pause of a second in which there were too many."""
        return 0.0 if self._over_since is None else self._last_over - self._over_since
