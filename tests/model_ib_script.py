"""Scripts between the IBKR rooms and the model TWS: plain data, drawn small so that they shrink.

Every number is the place in a table whose first entry is the plainest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.model_script import (
    CUTS,
    DISKS,
    NEWS_MODES,
    Fill,
    Kill,
    Numbers,
    Pause,
    Renew,
    common_step,
    drawn_steps,
    drawn_ways,
    latencies,
    of,
)

PAUSES = (0.0, 0.0, 0.02, 0.6, 3.0, 14.0)
"""Seconds after a step. The first is one turn of the loop."""

TAKEN, HELD, INACTIVE, CODE_ONLY, NOTICED = range(5)
"""What TWS does with an order: see :mod:`tests.model_tws`."""


@dataclass(frozen=True)
class Send:
    """An order of ours. ``filled`` quarters of it on arrival, ``quote_s`` seconds before it leaves."""

    stock: int
    buy: bool
    kind: int
    """0 limit, 1 market, 2 stop."""
    fate: int
    filled: int
    quote_s: float


@dataclass(frozen=True)
class Foreign:
    """An order of the same account by another client, or by a person (client 0), or of another account."""

    stock: int
    client: int
    ours: bool
    filled: int


@dataclass(frozen=True)
class Copy:
    """A person copies an order of ours in TWS, its orderRef with it."""

    place: int
    filled: int


@dataclass(frozen=True)
class Correct:
    """An execution is corrected: same stem, higher revision, another price."""

    place: int


@dataclass(frozen=True)
class Turn:
    """A person acts on a working or held order in TWS: "cancel", "transmit" or "delete" (a held one)."""

    place: int
    what: str


@dataclass(frozen=True)
class Cancel:
    place: int


@dataclass(frozen=True)
class CancelAll:
    pass


@dataclass(frozen=True)
class News:
    """What becomes of the next messages about orders: "lose", "twice", "late" or "last" (behind the next one)."""

    mode: str
    count: int


@dataclass(frozen=True)
class Answers:
    """What becomes of the next list requests: "silent" or "error"."""

    mode: str
    count: int


@dataclass(frozen=True)
class Cut:
    """The socket is gone for some seconds; what was on its way to TWS arrives or not. ``reset``: ids begin anew."""

    seconds: float
    delivered: bool
    reset: bool


@dataclass(frozen=True)
class Stale:
    """1100, and 1101 or 1102 after some seconds: the socket lives, lists are not answered."""

    seconds: float
    data_lost: bool


Step = (
    Send
    | Foreign
    | Copy
    | Fill
    | Correct
    | Turn
    | Cancel
    | CancelAll
    | News
    | Answers
    | Cut
    | Stale
    | Kill
    | Renew
    | Pause
)


@dataclass(frozen=True)
class Script:
    """Steps with the pause after each, and how this TWS behaves."""

    steps: tuple[tuple[Step, float], ...]
    latencies: tuple[float, ...] = (0.01,)
    disk_s: float = 0.0
    status_first: bool = False
    """orderStatus precedes openOrder, and a Filled status its execution."""
    told_pending: bool = False
    """A cancel shows as PendingCancel first."""
    commission_s: float = 0.0


_KINDS = (
    *["pause"] * 3,
    *["send"] * 24,
    *["fill"] * 13,
    *["cancel"] * 5,
    *["foreign"] * 4,
    *["turn"] * 4,
    *["news"] * 5,
    *["answers"] * 3,
    *["cut"] * 5,
    *["kill"] * 5,
    *["stale"] * 2,
    "copy",
    "correct",
    "all",
    "renew",
)
_KNOBS = st.integers(0, 2**6 - 1)


@st.composite
def scripts(draw: Any) -> Script:
    """Draw one script."""
    return make(draw(drawn_steps(_KINDS, PAUSES)), draw(drawn_ways()), draw(_KNOBS))


def make(steps: Numbers, ways: list[int], knobs: int) -> Script:
    """Make the script of these numbers."""
    return Script(
        steps=tuple((_step(_KINDS[kind], a, b), PAUSES[pause]) for kind, a, b, pause in steps),
        latencies=latencies(ways),
        disk_s=of(DISKS, knobs),
        status_first=bool(knobs >> 2 & 1),
        told_pending=bool(knobs >> 3 & 1),
        commission_s=of((0.0, 0.1, 2.0), knobs >> 4),
    )


def _step(kind: str, a: int, b: int) -> Step:
    if kind == "send":
        return Send(
            stock=a % 3,
            buy=a // 3 % 2 == 0,
            kind=of((0, 0, 0, 1, 2), a // 6),
            fate=of((TAKEN, TAKEN, TAKEN, TAKEN, HELD, INACTIVE, CODE_ONLY, NOTICED), b),
            filled=of((0, 0, 4, 2, 1), a // 30),
            quote_s=of((0.0, 0.0, 0.0, 0.5, 4.5), b // 8),
        )
    if kind == "foreign":
        return Foreign(a % 3, of((0, 5), a // 3), a // 6 % 4 != 3, of((0, 0, 4, 1), b))
    if kind == "copy":
        return Copy(a % 7, of((0, 4), b))
    if kind == "correct":
        return Correct(a % 7)
    if kind == "turn":
        return Turn(a % 7, of(("transmit", "cancel", "delete"), b))
    if kind == "cancel":
        return Cancel(a % 7)
    if kind == "all":
        return CancelAll()
    if kind == "news":
        return News(of(NEWS_MODES, a), 1 + b % 4)
    if kind == "answers":
        return Answers(of(("silent", "error"), a), 1 + b % 3)
    if kind == "cut":
        return Cut(of(CUTS, a), b % 2 == 0, b // 2 % 4 == 3)
    if kind == "stale":
        return Stale(of((1.0, 5.0, 40.0), a), b % 2 == 0)
    return common_step(kind, a, b)
