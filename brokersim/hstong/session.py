"""The login session: one for the whole Gateway, shared by all its local clients (vbrokers-openapi 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

from brokersim.hstong.codes import GatewayError

Session = Literal["none", "active", "displaced", "expired"]

REFUSALS: dict[Session, str] = {"none": "1012", "displaced": "1013", "expired": "1014"}
"""What a call that needs a login answers, by why there is none."""


class LoginSession:
    """Who is logged in: nobody, or everybody. Each call that needs the login extends it."""

    def __init__(self, now: Callable[[], datetime], life_s: Callable[[], float]) -> None:
        self._now = now
        self._life_s = life_s
        self._state: Session = "none"
        self._until: datetime | None = None
        self.pushes_orders = False
        """Between TradeSubscribe and TradeUnsubscribe; ends with the session."""
        self.on_end: Callable[[], None] = lambda: None

    @property
    def state(self) -> Session:
        """The session's state; one whose time has passed expires when it is looked at."""
        if self._state == "active" and self._until is not None and self._now() >= self._until:
            self.end("expired")
        return self._state

    def log_in(self) -> None:
        """Begin or renew the session; a standing one keeps its subscriptions."""
        self._state = self.state
        self._state = "active"
        self._extend()

    def require(self) -> None:
        """Extend the session, or raise :class:`GatewayError` 1012, 1013 or 1014 when there is none."""
        state = self.state
        if state != "active":
            raise GatewayError(REFUSALS[state])
        self._extend()

    def end(self, why: Session) -> None:
        """Log out (none), displace or expire; all subscriptions go with the session."""
        self._state = why
        self._until = None
        self.pushes_orders = False
        self.on_end()

    def _extend(self) -> None:
        self._until = self._now() + timedelta(seconds=self._life_s())
