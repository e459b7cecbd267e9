"""Which gateway owns a vt_symbol.

vn.py keys contracts by vt_symbol alone, so of two gateways that know AAPL.SMART only one may put its contract and ticks
on the engine (design, section 5). The owner follows from ``broker_routes.json`` and from the order of ``add_gateway``,
and from nothing else: a disconnected owner stays the owner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec
from vnpy.event import EventEngine
from vnpy.trader.constant import Exchange

from .i18n import _

# The one lock that gateways share: they meet here from loop threads of their own.
_lock = threading.Lock()
_registries: WeakKeyDictionary[EventEngine, Routes] = WeakKeyDictionary()


def registry_for(event_engine: EventEngine) -> Routes:
    """The registry that all gateways of this event engine share. It goes with the engine. For any thread."""
    with _lock:
        return _registries.setdefault(event_engine, Routes())


class Routes:
    """The gateways of one engine in the order in which they were added, and the routes that the user wrote.

    It must not keep gateways or the engine alive, so it knows their names only. For any thread.
    """

    def __init__(self) -> None:
        self._exchanges: dict[str, frozenset[str]] = {}
        self._serves: dict[str, Callable[[str], bool]] = {}
        self._routes: dict[str, str] | None = None
        self._owners: dict[str, str] = {}
        self._problems: dict[str, bool] = {}  # line: still to be taken

    def add(
        self, gateway_name: str, exchanges: Iterable[Exchange], serves: Callable[[str], bool] = lambda vt_symbol: True
    ) -> None:
        """Enter a gateway that serves ``exchanges``; does no I/O, so a gateway's ``__init__`` may call it.

        ``serves`` tells by the vt_symbol whether it can be one of the gateway's: an exchange alone does not separate a
        stock from an option. It must be a plain function, which keeps nothing alive. Once more for a gateway that is
        there: it keeps its place and serves these exchanges from now on (its settings leave a market out).
        """
        with _lock:
            self._exchanges[gateway_name] = frozenset(exchange.value for exchange in exchanges)
            self._serves[gateway_name] = serves
            self._owners = {}

    def load(self, path: Path) -> None:
        """Read the user's routes, ``{"*.SEHK": "VBROKERS", "AAPL.SMART": "IBKR"}``, the first time it is called.

        A missing file means no routes; a bad one is one problem line and no routes.
        """
        if self._routes is not None:
            return
        routes, problem = _read_routes(path)
        with _lock:
            if self._routes is not None:
                return
            self._routes = routes
            self._owners = {}
            if problem:
                self._problems[problem] = True

    def owner(self, vt_symbol: str) -> str:
        """The name of the gateway whose contract and ticks reach the engine, ``""`` where none serves the exchange.

        The user's routes first: exact, then the longest pattern. Else the first added gateway that serves the exchange.
        """
        known = self._owners.get(vt_symbol)
        if known is not None:
            return known
        with _lock:
            owner = self._routed(vt_symbol) or self._first_serving(vt_symbol)
            self._owners[vt_symbol] = owner
            return owner

    def take_problems(self) -> list[str]:
        """The lines for the log since the last call; each comes once, whichever gateway asks."""
        with _lock:
            fresh = [line for line, pending in self._problems.items() if pending]
            self._problems.update(dict.fromkeys(fresh, False))
            return fresh

    def _routed(self, vt_symbol: str) -> str:
        routes = self._routes or {}
        patterns = sorted((p for p in routes if "*" in p and fnmatchcase(vt_symbol, p)), key=len, reverse=True)
        for route in [vt_symbol, *patterns] if vt_symbol in routes else patterns:
            gateway_name = routes[route]
            if gateway_name in self._exchanges:
                return gateway_name
            text = _("broker_routes.json：{route} 指向没有加载的接口 {gateway}，这一行不起作用")
            self._problems.setdefault(text.format(route=route, gateway=gateway_name), True)
        return ""

    def _first_serving(self, vt_symbol: str) -> str:
        exchange = vt_symbol.rpartition(".")[2]
        serving = (name for name, served in self._exchanges.items() if exchange in served)
        return next((name for name in serving if self._serves[name](vt_symbol)), "")


def _read_routes(path: Path) -> tuple[dict[str, str], str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]), ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        text = _('{path} 无法读取（{error}），按没有路由处理；应为 {{"*.SEHK": "接口名"}} 这样的 JSON')
        return {}, text.format(path=path, error=error)
