"""A check: a name, what must hold, what it needs of the venue, and the function that finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .stage import Stage


@dataclass(frozen=True)
class Check:
    """One check. ``run`` returns where it holds, and raises what :mod:`.verdict` says where not."""

    name: str
    holds: str
    needs: frozenset[str]
    run: Callable[[Stage], None]


class Checks:
    """The checks of one subject, in the order in which they stand in its module."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._checks)

    def add(self, holds: str, *needs: str) -> Callable[[Callable[[Stage], None]], Callable[[Stage], None]]:
        """A decorator: the function is a check under its own name."""

        def keep(run: Callable[[Stage], None]) -> Callable[[Stage], None]:
            self._checks.append(Check(run.__name__, holds, frozenset(needs), run))
            return run

        return keep
