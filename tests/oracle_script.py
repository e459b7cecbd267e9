"""Numbered scripts of what can happen between an engine and its broker: orders, quotes, the phone, faults, restarts.

A script is data, so that a failing one can be cut down to its smallest form and kept as a test. ``draw(number)`` makes
the same script for the same number on every machine. Prices are told in ticks from the standing quote, which the script
itself sets, so a step means the same whatever came before it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

PLACE = "/trade/TradeEntrust"
CANCEL = "/trade/TradeCancelEntrust"
CANCEL_MANY = "/trade/TradeBatchCancelEntrust"
ORDERS = "/trade/TradeQueryRealEntrustList"
DEALS = "/trade/TradeQueryRealDeliverList"
HOLDINGS = "/trade/TradeQueryHoldsList"
FUNDS = "/trade/TradeQueryMarginFundInfo"
SUBSCRIBE_ORDERS = "/trade/TradeSubscribe"
LOGIN = "/trade/TradeLogin"
READS = (ORDERS, DEALS, HOLDINGS, FUNDS, SUBSCRIBE_ORDERS)

LONG, SHORT = "LONG", "SHORT"


@dataclass(frozen=True)
class Stock:
    """An instrument of the scripts, its first quote and what is held of it at the start (shares, average cost)."""

    vt_symbol: str
    last: Decimal
    tick: Decimal
    lot: int
    held: int
    cost: Decimal


STOCKS = {
    stock.vt_symbol: stock
    for stock in (
        Stock("IBM.SMART", Decimal(100), Decimal("0.01"), 1, 500, Decimal("91.5")),
        Stock("AAPL.SMART", Decimal(200), Decimal("0.01"), 1, 300, Decimal("203.25")),
        Stock("00700.SEHK", Decimal(400), Decimal("0.2"), 100, 4000, Decimal("380.2")),
    )
}
MARKETS = {"SMART": "美股", "SEHK": "港股"}


@dataclass(frozen=True)
class Send:
    """An order of ours. ``ticks`` from the best opposite price: 0 or more crosses it, ``None`` is a market order."""

    vt_symbol: str
    direction: str
    lots: int
    ticks: int | None


@dataclass(frozen=True)
class Phone:
    """The same, placed past us."""

    vt_symbol: str
    direction: str
    lots: int
    ticks: int | None


@dataclass(frozen=True)
class Quote:
    """A new quote: ``ticks`` from the first one's price, with this many lots on each side."""

    vt_symbol: str
    ticks: int
    lots: int


@dataclass(frozen=True)
class Cancel:
    """Cancel the working order at this place of the engine's list (modulo its length), whoever placed it."""

    place: int


@dataclass(frozen=True)
class CancelAll:
    """Cancel ours in one market, by one request."""

    market: str


@dataclass(frozen=True)
class Flood:
    """So many resting orders from the phone: lists then have several pages."""

    vt_symbol: str
    count: int


@dataclass(frozen=True)
class Faults:
    """Faults as the control interface takes them."""

    faults: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Reconnect:
    """connect() again, on the standing engine."""


@dataclass(frozen=True)
class Restart:
    """The engine ends as VN Trader does, and a new one connects: it knows nothing of before."""


@dataclass(frozen=True)
class Await:
    """Wait until the broker has received every order that left, or it was refused here."""


@dataclass(frozen=True)
class Settle:
    """Wait until no order of ours is SUBMITTING."""


Step = Send | Phone | Quote | Cancel | CancelAll | Flood | Faults | Reconnect | Restart | Await | Settle


@dataclass(frozen=True)
class Script:
    """Steps, and the switches of the simulated Gateway under which they run."""

    name: str
    steps: tuple[Step, ...]
    switches: dict[str, Any] = field(default_factory=dict)


def fault(do: str, **more: Any) -> dict[str, Any]:
    """Return one fault of the VBrokers half."""
    return {"broker": "vbrokers", "do": do, **more}


def fault_of_push(dice: random.Random, names: Sequence[str], make: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Draw one fault of what is pushed under these names, made by the half's own ``fault``."""
    when = {"message": dice.choice(names), "nth": dice.choice((1, 1, 2, 3))}
    times = dice.choice((1, 2, 4))
    modes = ("duplicate", "reorder", "late", "lose", "lose")
    kinds = [make("push", mode=mode, when=when, times=times) for mode in modes]
    kinds += [
        make("drop", when=when),
        make("drop", when={**when, "phase": "after"}),
        make("garbage", when=when),
        make("oversize", when=when),
        make("split", when=when, times=times),
        make("join", when=when, times=times),
    ]
    return dice.choice(kinds)


def draw(number: int) -> Script:
    """Return script ``number``."""
    return _Pen(number).script()


class _Pen:
    """Draws the steps of one script. Every order has a size of its own unless a twin is meant: a row at the broker
    that could be anybody's would be undecidable, rightly so, and end nothing."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._dice = random.Random(number)
        self._size = 0
        self._displaced = False
        self._twins = self._dice.random() < 0.3
        self._slow = not self._twins
        """Twins and orders that arrive long after they were given up do not go together, for the same reason."""

    def script(self) -> Script:
        dice = self._dice
        makers = [
            (self._send, 34),
            (self._cancel, 11),
            (self._cancel_all, 3),
            (self._phone, 7),
            (self._quote, 14),
            (self._fault, 22),
            (self._reconnect, 4),
            (self._restart, 3),
            (self._wait, 8),
        ]
        steps: list[Step] = []
        if dice.random() < 0.08:
            steps.append(Flood("IBM.SMART", dice.choice((99, 105, 210))))
        for _turn in range(dice.randint(10, 25)):
            steps += dice.choices([maker for maker, _w in makers], [weight for _m, weight in makers])[0]()
        switches: dict[str, Any] = {}
        if dice.random() < 0.3:
            switches["push_before_reply"] = True
        if dice.random() < 0.3:
            switches["record_no"] = "different"
        if dice.random() < 0.2:
            switches["us_suffix"] = True
        return Script(f"number {self._number}", tuple(steps), switches)

    def _stock(self) -> str:
        return self._dice.choices(list(STOCKS), (5, 2, 3))[0]

    def _lots(self, vt_symbol: str) -> int:
        """A size that no other order of the script has; the account can carry them all."""
        self._size += 1
        return self._size if vt_symbol.endswith("SEHK") else 5 + self._size

    def _order(self) -> tuple[str, str, int, int | None]:
        vt_symbol = self._stock()
        direction = LONG if self._dice.random() < 0.65 else SHORT
        ticks: int | None = self._dice.choices((-200, -3, 0, 5), (3, 3, 6, 2))[0]
        if vt_symbol.endswith("SEHK") and ticks == -200:
            ticks = -30
        if vt_symbol.endswith("SMART") and self._dice.random() < 0.15:
            ticks = None
        return vt_symbol, direction, self._lots(vt_symbol), ticks

    def _send(self) -> list[Step]:
        order = Send(*self._order())
        times = self._dice.choice((2, 2, 3)) if self._twins and self._dice.random() < 0.4 else 1
        steps: list[Step] = [order] * times
        if self._dice.random() < 0.5:
            steps.append(Await())
        return steps

    def _cancel(self) -> list[Step]:
        return [Cancel(self._dice.randrange(20))]

    def _cancel_all(self) -> list[Step]:
        return [CancelAll(self._dice.choice(list(MARKETS.values())))]

    def _phone(self) -> list[Step]:
        return [Phone(*self._order())]

    def _quote(self) -> list[Step]:
        vt_symbol = self._stock()
        reach = 8 if vt_symbol.endswith("SEHK") else 60
        return [Quote(vt_symbol, self._dice.randint(-reach, reach), self._dice.choice((1, 4, 9, 30, 500)))]

    def _reconnect(self) -> list[Step]:
        return [Reconnect()]

    def _restart(self) -> list[Step]:
        return [Restart()]

    def _wait(self) -> list[Step]:
        return [self._dice.choice((Await(), Settle()))]

    def _fault(self) -> list[Step]:
        kinds = (
            (self._fault_of_a_mutation, 10),
            (self._fault_of_a_read, 6),
            (self._fault_of_push, 7),
            (self._fault_of_everything, 5),
        )
        made = self._dice.choices([kind for kind, _w in kinds], [weight for _k, weight in kinds])[0]()
        return [Faults(tuple(made))]

    def _fault_of_a_mutation(self) -> list[dict[str, Any]]:
        dice = self._dice
        route = dice.choices((PLACE, CANCEL, CANCEL_MANY), (10, 4, 1))[0]
        phase = dice.choice(("before", "after"))
        when = {"message": route, "phase": phase, "nth": dice.choice((1, 1, 2, 3))}
        times = dice.choice((1, 1, 2))
        kinds = [
            fault("lose_reply", when=when, times=times),
            fault("drop", when=when, times=times),
            fault("garbage", when=when, times=times),
            fault("http_status", code=dice.choice((500, 502, 503)), when=when, times=times),
            fault("error", code=dice.choice(("1001", "1007", "1011", "1015", "1018")), when=when, times=times),
            fault("error", code="1012", text="用户未登录", when={**when, "phase": "before"}),
            fault("delay", ms=dice.choice((100, 400)), when=when, times=times),
            fault("split", when=when, times=times),
            fault("stall", for_s=0.5, when=when),
            fault("push", mode="before_reply", when=when, times=times),
        ]
        if self._slow:
            kinds.append(fault("delay", ms=2500, when=when))
        return [dice.choice(kinds)]

    def _fault_of_a_read(self) -> list[dict[str, Any]]:
        dice = self._dice
        route, nth, phase = dice.choice(READS), dice.choice((1, 1, 2, 4)), dice.choice(("before", "after"))
        when = {"message": route, "nth": nth, "phase": phase}
        times = dice.choice((1, 2, 4, 9))
        code = dice.choice(("1001", "1008", "1011", "1012", "1014", "1015", "1017", "1018"))
        kinds = [
            fault("error", code=code, when=when, times=times),
            fault("garbage", when=when, times=times),
            fault("oversize", when=when),
            fault("http_status", code=500, when=when, times=times),
            fault("drop", when=when, times=times),
            fault("delay", ms=dice.choice((50, 300)), when=when, times=times),
            fault("lose_reply", when=when),
            fault("split", when=when, times=times),
            fault("stuck_cursor", when={"message": dice.choice((ORDERS, DEALS))}, times=times),
            fault("shift_pages", when={"message": dice.choice((ORDERS, DEALS))}, times=times),
        ]
        return [dice.choice(kinds)]

    def _fault_of_push(self) -> list[dict[str, Any]]:
        names = ("push", "TradeStockDeliverNotify", "TradeStockDeliverNotify")
        return [fault_of_push(self._dice, names, fault)]

    def _fault_of_everything(self) -> list[dict[str, Any]]:
        dice = self._dice
        kinds = [
            fault("restart", for_s=dice.choice((0, 0.3, 1))),
            fault("refuse", for_s=dice.choice((0.2, 0.6))),
            fault("drop"),
            fault("stall", for_s=dice.choice((0.3, 1))),
            fault("expire"),
            fault("fill_while_away"),
        ]
        if not self._displaced:
            kinds.append(fault("displace"))
        made = dice.choice(kinds)
        if made["do"] == "displace":
            self._displaced = True
            if dice.random() < 0.4:
                return [fault("drop", when={"message": LOGIN, "phase": "before"}), made]
        if made["do"] in ("drop", "refuse") and dice.random() < 0.4:
            return [made, fault("fill_while_away")]
        return [made]
