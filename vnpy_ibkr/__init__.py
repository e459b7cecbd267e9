"""The Interactive Brokers (盈透) plugin for vn.py, on ib_async.

The names below are loaded when they are first used (PEP 562), so that the wire's parts, which know nothing of vn.py,
can be imported without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vnpy_brokerkit._version import __version__ as __version__

_HOME_OF = {"IbkrGateway": ".gateway", "Datafeed": ".datafeed"}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
