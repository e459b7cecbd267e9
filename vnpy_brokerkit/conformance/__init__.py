"""The conformance suite: what vn.py, its apps and their users may expect of any gateway, as checks that run.

``run(MyGateway, MyVenue)`` puts a gateway through all of them, each with an engine and a broker of its own;
``print(table(...))`` shows how that went. The broker is a :class:`Venue`: see there what a simulated one needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .check import Check
    from .report import table
    from .suite import CHECKS, run, run_check
    from .venue import (
        CUT,
        ELSEWHERE,
        FEATURES,
        FLOW,
        MARKET_ORDER,
        QUOTE,
        REFUSE,
        SECOND_SEAT,
        SILENCE,
        BrokerOrder,
        BrokerTrade,
        Ground,
        Patience,
        Truth,
        Venue,
    )
    from .verdict import Failed, NotApplicable, Outcome, Result

_HOMES = {
    "check": ("Check",),
    "report": ("table",),
    "suite": ("CHECKS", "run", "run_check"),
    "venue": (
        *("CUT", "ELSEWHERE", "FEATURES", "FLOW", "MARKET_ORDER", "QUOTE", "REFUSE", "SECOND_SEAT", "SILENCE"),
        *("BrokerOrder", "BrokerTrade", "Ground", "Patience", "Truth", "Venue"),
    ),
    "verdict": ("Failed", "NotApplicable", "Outcome", "Result"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CHECKS",
    "CUT",
    "ELSEWHERE",
    "FEATURES",
    "FLOW",
    "MARKET_ORDER",
    "QUOTE",
    "REFUSE",
    "SECOND_SEAT",
    "SILENCE",
    "BrokerOrder",
    "BrokerTrade",
    "Check",
    "Failed",
    "Ground",
    "NotApplicable",
    "Outcome",
    "Patience",
    "Result",
    "Truth",
    "Venue",
    "run",
    "run_check",
    "table",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
