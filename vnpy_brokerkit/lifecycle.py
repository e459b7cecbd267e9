"""The order lifecycle: one table, no I/O.

An order is in one :class:`State`; what the broker or our own wire says of it is a :class:`Happening`. ``MOVES`` holds
every step that exists; a happening without a step from the present state changes nothing, which is exactly what a late,
repeated or reordered message must do. Terminal states have steps only among themselves where the broker's later word is
the fuller one (a cancelled order that turns out to have been filled to the end); nothing leads back to an active state.

::

    NEW ── SENT ──> SENDING ── ACKNOWLEDGED ──> PENDING ── ACCEPTED ──> WORKING ── PART_FILLED ──> PARTIAL
     │                │  └── LOST ──> UNKNOWN ── (any word of the broker) ──> ...
     └── REFUSED ─────┴── REFUSED ──> REJECTED

Unknown is not rejected: ``UNKNOWN`` is shown as SUBMITTING until the broker's lists settle it (design, section 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from vnpy.trader.constant import Status


class State(Enum):
    """Where an order stands, as far as is known here."""

    NEW = "new"
    """Taken from the caller; nothing has left this machine."""
    SENDING = "sending"
    """The request is on the wire."""
    UNKNOWN = "unknown"
    """Sent; the outcome is not known. Never sent again."""
    PENDING = "pending"
    """The broker has it, the market does not yet."""
    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class Happening(Enum):
    """What can be said of an order, by our wire (the first four) or by the broker."""

    SENT = "sent"
    LOST = "lost"
    """No usable answer to a request that left."""
    REFUSED = "refused"
    """Refused here, or clearly refused by the broker, or settled as never arrived."""
    ACKNOWLEDGED = "acknowledged"
    """The broker gave it a number."""
    ACCEPTED = "accepted"
    """It works in the market (also while a cancel or change of it is pending)."""
    PART_FILLED = "part_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """The broker took it and then refused it."""


_BROKER_WORDS: Mapping[Happening, State] = {
    Happening.ACKNOWLEDGED: State.PENDING,
    Happening.ACCEPTED: State.WORKING,
    Happening.PART_FILLED: State.PARTIAL,
    Happening.FILLED: State.FILLED,
    Happening.CANCELLED: State.CANCELLED,
    Happening.REJECTED: State.REJECTED,
}


def _without(*happenings: Happening) -> dict[Happening, State]:
    return {h: s for h, s in _BROKER_WORDS.items() if h not in happenings}


MOVES: Mapping[State, Mapping[Happening, State]] = {
    State.NEW: {
        Happening.SENT: State.SENDING,
        Happening.REFUSED: State.REJECTED,
        Happening.CANCELLED: State.CANCELLED,  # withdrawn before it left
    },
    State.SENDING: {Happening.LOST: State.UNKNOWN, Happening.REFUSED: State.REJECTED, **_BROKER_WORDS},
    State.UNKNOWN: {Happening.REFUSED: State.REJECTED, **_BROKER_WORDS},
    State.PENDING: _without(Happening.ACKNOWLEDGED),
    State.WORKING: _without(Happening.ACKNOWLEDGED, Happening.ACCEPTED),
    State.PARTIAL: _without(Happening.ACKNOWLEDGED, Happening.ACCEPTED, Happening.PART_FILLED),
    State.FILLED: {},
    State.CANCELLED: {Happening.FILLED: State.FILLED},
    State.REJECTED: {},
}

TERMINAL: frozenset[State] = frozenset({State.FILLED, State.CANCELLED, State.REJECTED})

NAMELESS: frozenset[State] = frozenset({State.NEW, State.SENDING, State.UNKNOWN})
"""States in which the broker's number is not known."""

STATE2VT: Mapping[State, Status] = {
    State.NEW: Status.SUBMITTING,
    State.SENDING: Status.SUBMITTING,
    State.UNKNOWN: Status.SUBMITTING,
    State.PENDING: Status.SUBMITTING,
    State.WORKING: Status.NOTTRADED,
    State.PARTIAL: Status.PARTTRADED,
    State.FILLED: Status.ALLTRADED,
    State.CANCELLED: Status.CANCELLED,
    State.REJECTED: Status.REJECTED,
}


def move(state: State, happening: Happening) -> State:
    """Return the state after ``happening``; the same one where the table has no such step."""
    return MOVES[state].get(happening, state)


def diagram() -> str:
    """Return the table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.NEW.value}"]
    lines += [
        f"    {state.value} --> {after.value}: {happening.value}"
        for state, steps in MOVES.items()
        for happening, after in steps.items()
    ]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join(lines) + "\n"
