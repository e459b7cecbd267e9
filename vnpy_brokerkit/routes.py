"""Which gateway owns a vt_symbol, and where its history and the orders of strategies go.

vn.py keys contracts by vt_symbol alone, so of two gateways that know AAPL.SMART only one may put its contract and ticks
on the engine (design, section 5). The owner follows from ``broker_routes.json`` and from the order of ``add_gateway``,
and from nothing else: a disconnected owner stays the owner. The file is read once: a person who changes it sees the
change after the next start, when nothing is left that was counted from the former owner's volume.

``broker_routes.json`` in vn.py's folder::

    {
        "*.SEHK": "VBROKERS",
        "*.SMART": {"quotes": "VBROKERS", "history": "IBKR", "orders": "IBKR"},
        "strategy:turtle_*": "IBKR"
    }

A name alone owns the symbol: quotes, history and orders are its. An object names a gateway for some of the three; what
it leaves out is looked for in the next fitting line, and is the owner's in the end. ``strategy:NAME`` is about the
orders of a CTA strategy, whatever it trades, and comes before what its symbol says. Only orders of strategies are
routed: a person names the gateway himself. The kit answers; who sends is ``vnpy_brokers.routed_strategies`` (orders
and bars of strategies) and ``vnpy_brokers.trader`` (history).
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
from .symbols import SymbolError, canonical_vt

ROUTES_FILE = "broker_routes.json"
STRATEGY = "strategy:"
"""What a line about a strategy begins with."""

# The one lock that gateways share: they meet here from loop threads of their own.
_lock = threading.Lock()
_registries: WeakKeyDictionary[EventEngine, Routes] = WeakKeyDictionary()


def registry_for(event_engine: EventEngine) -> Routes:
    """The registry that all gateways of this event engine share. It goes with the engine. For any thread."""
    with _lock:
        return _registries.setdefault(event_engine, Routes())


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the file: gateway names, ``""`` where it says nothing."""

    quotes: str = ""
    """Whose contract and ticks reach the engine: the owner."""
    history: str = ""
    orders: str = ""
    """Where the orders of strategies go."""


class Routes:
    """The gateways of one engine in the order in which they were added, and the routes that the user wrote.

    It must not keep gateways or the engine alive, so it knows their names only. For any thread.
    """

    def __init__(self) -> None:
        self._exchanges: dict[str, frozenset[str]] = {}
        self._serves: dict[str, Callable[[str], bool]] = {}
        self._routes: dict[str, Route] | None = None
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
        """Read the user's routes the first time it is called; the module's text says what they look like.

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
        Another spelling of an instrument (``AAPL-USD-STK.SMART``) has the owner of its canonical one, unless a route
        names it as it is written.
        """
        known = self._owners.get(vt_symbol)
        if known is not None:
            return known
        with _lock:
            home = _canonical(vt_symbol)
            named = self._routed(vt_symbol, "quotes") or self._routed(home, "quotes")
            owner = named or self._first_serving(home, vt_symbol)
            self._owners[vt_symbol] = owner
            return owner

    def history(self, vt_symbol: str) -> str:
        """The name of the gateway that gives the history of an instrument; its owner where no route says another."""
        with _lock:
            found = self._routed(vt_symbol, "history") or self._routed(_canonical(vt_symbol), "history")
        return found or self.owner(vt_symbol)

    def orders(self, vt_symbol: str, strategy: str) -> str:
        """The name of the gateway that a strategy's orders of an instrument go to; ``""`` where no route says one.

        It may be one that is not loaded: an order that a person wanted at one broker must not go to another. An owner
        that is not loaded is none, and its line counts for nothing here either.
        """
        with _lock:
            names = dict.fromkeys((vt_symbol, _canonical(vt_symbol)))
            fitting = [*self._fitting(STRATEGY + strategy), *(line for name in names for line in self._fitting(name))]
            named = [r.orders for _line, r in fitting if r.orders in self._exchanges or r.orders != r.quotes]
        return next(filter(None, named), "")

    def take_problems(self) -> list[str]:
        """The lines for the log since the last call; each comes once, whichever gateway asks."""
        with _lock:
            fresh = [line for line, pending in self._problems.items() if pending]
            self._problems.update(dict.fromkeys(fresh, False))
            return fresh

    def _fitting(self, text: str) -> list[tuple[str, Route]]:
        """The lines that fit a vt_symbol or ``strategy:NAME``: the exact one, then patterns, the longest first."""
        routes = self._routes or {}
        about = text.startswith(STRATEGY)
        patterns = [p for p in routes if "*" in p and p.startswith(STRATEGY) is about and fnmatchcase(text, p)]
        ordered = sorted(patterns, key=len, reverse=True)
        return [(line, routes[line]) for line in ([text, *ordered] if text in routes else ordered)]

    def _routed(self, vt_symbol: str, aspect: str) -> str:
        for line, route in self._fitting(vt_symbol):
            gateway_name = getattr(route, aspect)
            if not gateway_name:
                continue
            if gateway_name in self._exchanges:
                return str(gateway_name)
            text = _("broker_routes.json：{route} 指向没有加载的接口 {gateway}，这一行不起作用")
            self._problems.setdefault(text.format(route=line, gateway=gateway_name), True)
        return ""

    def _first_serving(self, vt_symbol: str, written: str) -> str:
        """By its exchange as written: one that a gateway does not offer is none of its own."""
        exchanges = {name.rpartition(".")[2] for name in (vt_symbol, written)}
        serving = (name for name, served in self._exchanges.items() if exchanges <= served)
        return next((name for name in serving if self._serves[name](vt_symbol)), "")


def _canonical(vt_symbol: str) -> str:
    """The spelling by which owners are told apart: one instrument has one, however a strategy writes it."""
    try:
        return canonical_vt(vt_symbol)
    except SymbolError:
        return vt_symbol


def _read_routes(path: Path) -> tuple[dict[str, Route], str]:
    try:
        read = msgspec.json.decode(path.read_bytes(), type=dict[str, str | Route])
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, RecursionError) as error:
        text = _('{path} 无法读取（{error}），按没有路由处理；应为 {{"*.SEHK": "接口名"}} 这样的 JSON')
        return {}, text.format(path=path, error=error)
    return {line: route if isinstance(route, Route) else _whole(line, route) for line, route in read.items()}, ""


def _whole(line: str, gateway_name: str) -> Route:
    """A name alone: of a strategy it is about orders; an owner has what no other line gives away."""
    if line.startswith(STRATEGY):
        return Route(orders=gateway_name)
    return Route(gateway_name, gateway_name, gateway_name)
