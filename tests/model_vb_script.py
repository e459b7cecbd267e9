"""Scripts between the VBrokers rooms and the model broker: plain data, drawn small so that they shrink.

Every number is the place in a table whose first entry is the plainest. Every order has a size of its own, unless a
script has twins: then rows that are alike may stand for each other, and the judge compares them as a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

LATENCIES = (0.01, 0.0, 0.05, 0.3, 1.0, 2.5)
"""Seconds that something takes on its way."""
PAUSES = (0.0, 0.0, 0.02, 0.5, 3.0, 14.0)
"""Seconds after a step. The first is one turn of the loop."""

OK, ANSWERED_LATE, LOST_AFTER, LOST_BEFORE, RESET_AFTER, RESET_LATE, REFUSED, NOT_SENT, NO_ID, VERY_LATE = range(10)
"""What becomes of a request: see :mod:`tests.model_vb_broker`."""
FATES = (OK, OK, OK, LOST_AFTER, LOST_BEFORE, RESET_AFTER, RESET_LATE, ANSWERED_LATE, REFUSED, NOT_SENT, NO_ID, OK)
RARE_FATES = (*FATES[:-1], VERY_LATE)


@dataclass(frozen=True)
class Send:
    """An order of ours. ``fate`` of its request, ``filled`` quarters of it on arrival, ``quote_s`` before it leaves."""

    stock: int
    buy: bool
    market: bool
    fate: int
    filled: int
    quote_s: float
    twin: bool


@dataclass(frozen=True)
class Phone:
    """An order placed past us; ``twin``: just like the last one of ours."""

    stock: int
    buy: bool
    filled: int
    twin: bool


@dataclass(frozen=True)
class Fill:
    """The broker fills quarters of a working order, in two parts if ``halves``."""

    place: int
    quarters: int
    halves: bool


@dataclass(frozen=True)
class Turn:
    """Something else happens to a working order at the broker: "cancel" (by phone), "reject" or "expect" (accepted)."""

    place: int
    what: str


@dataclass(frozen=True)
class Cancel:
    """We cancel an order that the engine shows as working."""

    place: int
    fate: int


@dataclass(frozen=True)
class CancelAll:
    stock: int
    fate: int


@dataclass(frozen=True)
class Pushes:
    """What becomes of the next pushes: "lose", "twice", "late" or "last" (late and behind the ones that follow)."""

    mode: str
    count: int


@dataclass(frozen=True)
class Reads:
    """What becomes of the next list reads: "fail", "stuck", "damaged" or "slow"."""

    mode: str
    count: int


@dataclass(frozen=True)
class Cut:
    """The Gateway is gone for some seconds; requests on their way are carried out or not."""

    seconds: float
    carried: bool


@dataclass(frozen=True)
class PushCut:
    seconds: float


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
class Midnight:
    """An hour passes, and Hong Kong's day with it, while the machine sleeps."""

    carried: bool


@dataclass(frozen=True)
class Pause:
    seconds: float


Step = (
    Send | Phone | Fill | Turn | Cancel | CancelAll | Pushes | Reads | Cut | PushCut | Kill | Renew | Midnight | Pause
)


@dataclass(frozen=True)
class Script:
    """Steps with the pause after each, and how this broker behaves."""

    steps: tuple[tuple[Step, float], ...]
    latencies: tuple[float, ...] = (0.01,)
    disk_s: float = 0.0
    page: int = 99
    by_offset: bool = True
    """A cursor counts rows (and shifts with new ones), instead of naming one."""
    two_numbers: bool = False
    """Pushes carry an entrustNo that is another series than entrustId."""
    lag_s: float = 0.0
    """Seconds until a new order is in the list."""
    told_pending: bool = False
    """A cancel shows as pending first."""
    market_price: bool = False
    """Rows and pushes of market orders carry a price."""
    twins: bool = False


_KINDS = (
    *["pause"] * 3,
    *["send"] * 24,
    *["fill"] * 12,
    *["cancel"] * 5,
    *["phone"] * 3,
    *["turn"] * 3,
    *["pushes"] * 4,
    *["reads"] * 3,
    *["cut"] * 3,
    *["kill"] * 5,
    "all",
    "push cut",
    "renew",
    "midnight",
)
_NUMBER = st.integers(0, 719)
_STEP = st.tuples(st.integers(0, len(_KINDS) - 1), _NUMBER, _NUMBER, st.integers(0, len(PAUSES) - 1))
_STEPS = st.lists(_STEP, min_size=4, max_size=25)
_WAYS = st.lists(st.integers(0, len(LATENCIES) - 1), min_size=1, max_size=5)
_KNOBS = st.integers(0, 2**11 - 1)


@st.composite
def scripts(draw: Any) -> Script:
    """Draw one script."""
    return make(draw(_STEPS), draw(_WAYS), draw(_KNOBS))


def make(steps: list[tuple[int, int, int, int]], ways: list[int], knobs: int) -> Script:
    """Make the script of these numbers."""
    twins = knobs % 4 == 3
    return Script(
        steps=tuple((_step(_KINDS[kind], a, b, twins), PAUSES[pause]) for kind, a, b, pause in steps),
        latencies=tuple(LATENCIES[way] for way in ways),
        disk_s=_of((0.0, 0.0, 0.02, 0.4), knobs >> 2),
        page=_of((99, 3), knobs >> 4),
        by_offset=not knobs >> 5 & 1,
        two_numbers=bool(knobs >> 6 & 1),
        lag_s=_of((0.0, 0.0, 0.0, 0.5), knobs >> 7),
        told_pending=bool(knobs >> 9 & 1),
        market_price=bool(knobs >> 10 & 1),
        twins=twins,
    )


def _of(table: tuple[T, ...], number: int) -> T:
    return table[number % len(table)]


def _step(kind: str, a: int, b: int, twins: bool) -> Step:
    if kind == "send":
        fates = FATES if twins else RARE_FATES
        return Send(
            stock=a % 3,
            buy=a // 3 % 2 == 0,
            market=a // 6 % 6 == 5,
            fate=_of(fates, b),
            filled=_of((0, 0, 4, 2, 1), a // 36),
            quote_s=_of((0.0, 0.0, 0.0, 0.0, 0.5, 4.5), b // 12),
            twin=twins and b // 72 % 2 == 1,
        )
    if kind == "phone":
        return Phone(a % 3, a // 3 % 2 == 0, _of((0, 0, 4, 1), a // 6), twins and b % 2 == 1)
    if kind == "fill":
        return Fill(a % 7, _of((4, 1, 2, 3), b), b // 4 % 2 == 1)
    if kind == "turn":
        return Turn(a % 7, _of(("cancel", "reject"), b))
    if kind == "cancel":
        return Cancel(a % 7, _of(FATES[:-2], b))
    if kind == "all":
        return CancelAll(a % 3, _of(FATES[:-2], b))
    if kind == "pushes":
        return Pushes(_of(("lose", "twice", "late", "last"), a), 1 + b % 4)
    if kind == "reads":
        return Reads(_of(("fail", "stuck", "damaged", "slow"), a), 1 + b % 5)
    if kind == "cut":
        return Cut(_of((0.0, 1.0, 5.0, 20.0), a), b % 2 == 0)
    if kind == "push cut":
        return PushCut(_of((0.0, 1.0, 8.0), a))
    if kind == "kill":
        return Kill(_of((0, 1, 2, 3, 5, 8, 13), a), _of((0.001, 0.5, 6.0, 30.0), b), b // 4 % 2 == 0)
    if kind == "renew":
        return Renew()
    if kind == "midnight":
        return Midnight(a % 2 == 0)
    return Pause(_of((1.0, 0.1, 11.0, 5.0), a))
