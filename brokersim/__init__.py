"""Simulated brokers that speak the real wire: ``python -m brokersim``, or ``with brokersim.running() as sim:``.

Importing this package loads nothing: :func:`running` and :class:`Simulation` come in at first use (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokersim.client import Simulation, running

__all__ = ["Simulation", "running"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from brokersim import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
