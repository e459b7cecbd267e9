"""How a check ends: by returning, by raising :class:`Failed`, or by raising :class:`NotApplicable`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Failed(AssertionError):
    """What must hold does not; the text says what was seen."""


class NotApplicable(Exception):
    """This gateway or venue has no such thing; the text says what it lacks."""


def must(holds: object, text: str) -> None:
    """Raise :class:`Failed` with this text unless it holds."""
    if not holds:
        raise Failed(text)


class Outcome(Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Result:
    """How one check ended. ``log`` are the last lines of the engine's log where it failed."""

    name: str
    holds: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    log: tuple[str, ...] = ()
