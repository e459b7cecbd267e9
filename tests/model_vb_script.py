"""Scripts between the VBrokers rooms and the model broker: plain data, drawn small so that they shrink.

Every number is the place in a table whose first entry is the plainest. Every order has a size of its own, unless a
script has twins: then rows that are alike may stand for each other, and the judge compares them as a group.
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
class Midnight:
    """An hour passes, and Hong Kong's day with it, while the machine sleeps."""

    carried: bool


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
_KNOBS = st.integers(0, 2**11 - 1)


@st.composite
def scripts(draw: Any) -> Script:
    """Draw one script."""
    return make(draw(drawn_steps(_KINDS, PAUSES)), draw(drawn_ways()), draw(_KNOBS))


def make(steps: Numbers, ways: list[int], knobs: int) -> Script:
    """Make the script of these numbers."""
    twins = knobs % 4 == 3
    return Script(
        steps=tuple((_step(_KINDS[kind], a, b, twins), PAUSES[pause]) for kind, a, b, pause in steps),
        latencies=latencies(ways),
        disk_s=of(DISKS, knobs >> 2),
        page=of((99, 3), knobs >> 4),
        by_offset=not knobs >> 5 & 1,
        two_numbers=bool(knobs >> 6 & 1),
        lag_s=of((0.0, 0.0, 0.0, 0.5), knobs >> 7),
        told_pending=bool(knobs >> 9 & 1),
        market_price=bool(knobs >> 10 & 1),
        twins=twins,
    )


def _step(kind: str, a: int, b: int, twins: bool) -> Step:
    if kind == "send":
        fates = FATES if twins else RARE_FATES
        return Send(
            stock=a % 3,
            buy=a // 3 % 2 == 0,
            market=a // 6 % 6 == 5,
            fate=of(fates, b),
            filled=of((0, 0, 4, 2, 1), a // 36),
            quote_s=of((0.0, 0.0, 0.0, 0.0, 0.5, 4.5), b // 12),
            twin=twins and b // 72 % 2 == 1,
        )
    if kind == "phone":
        return Phone(a % 3, a // 3 % 2 == 0, of((0, 0, 4, 1), a // 6), twins and b % 2 == 1)
    if kind == "turn":
        return Turn(a % 7, of(("cancel", "reject"), b))
    if kind == "cancel":
        return Cancel(a % 7, of(FATES[:-2], b))
    if kind == "all":
        return CancelAll(a % 3, of(FATES[:-2], b))
    if kind == "pushes":
        return Pushes(of(NEWS_MODES, a), 1 + b % 4)
    if kind == "reads":
        return Reads(of(("fail", "stuck", "damaged", "slow"), a), 1 + b % 5)
    if kind == "cut":
        return Cut(of(CUTS, a), b % 2 == 0)
    if kind == "push cut":
        return PushCut(of((0.0, 1.0, 8.0), a))
    if kind == "midnight":
        return Midnight(a % 2 == 0)
    return common_step(kind, a, b)
