"""What the scripts of both models have in common: the steps that are the same, and how numbers become a script.

Every number is the place in a table whose first entry is the plainest, so that scripts shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Numbers = list[tuple[int, int, int, int]]
"""A step each: its kind, two numbers for what it does, and the pause after it."""

LATENCIES = (0.01, 0.0, 0.05, 0.3, 1.0, 2.5)
"""Seconds that something takes on its way."""
DISKS = (0.0, 0.0, 0.02, 0.4)
"""Seconds that the journal takes."""
CUTS = (0.0, 1.0, 5.0, 20.0)
NEWS_MODES = ("lose", "twice", "late", "last")
"""What becomes of news: "last" is late and behind the ones that follow."""


@dataclass(frozen=True)
class Fill:
    """The broker fills quarters of a working order, in two parts if ``halves``."""

    place: int
    quarters: int
    halves: bool


@dataclass(frozen=True)
class Kill:
    """The engine ends at once, so many turns of the loop from now, and another one starts after some seconds."""

    turns: int
    seconds: float
    written: bool
    """What was on its way to the socket arrives."""


@dataclass(frozen=True)
class Renew:
    """connect() again: new rooms on the standing tracker."""


@dataclass(frozen=True)
class Pause:
    seconds: float


def of(table: Sequence[T], number: int) -> T:
    """Return the entry of a table that a number of any size means."""
    return table[number % len(table)]


def drawn_steps(kinds: Sequence[str], pauses: Sequence[float]) -> st.SearchStrategy[Numbers]:
    """Draw the numbers of a script's steps."""
    number = st.integers(0, 719)
    step = st.tuples(st.integers(0, len(kinds) - 1), number, number, st.integers(0, len(pauses) - 1))
    return st.lists(step, min_size=4, max_size=25)


def drawn_ways() -> st.SearchStrategy[list[int]]:
    """Draw the places of a script's latencies."""
    return st.lists(st.integers(0, len(LATENCIES) - 1), min_size=1, max_size=5)


def latencies(ways: list[int]) -> tuple[float, ...]:
    return tuple(LATENCIES[way] for way in ways)


def common_step(kind: str, a: int, b: int) -> Fill | Kill | Renew | Pause:
    """Make a step that both models have."""
    if kind == "fill":
        return Fill(a % 7, of((4, 1, 2, 3), b), b // 4 % 2 == 1)
    if kind == "kill":
        return Kill(of((0, 1, 2, 3, 5, 8, 13), a), of((0.001, 0.5, 6.0, 30.0), b), b // 4 % 2 == 0)
    if kind == "renew":
        return Renew()
    return Pause(of((1.0, 0.1, 11.0, 5.0), a))
