"""A night in data time: a broker, an engine and a gateway whose wall clocks are moved together, and what must hold.

Quotes stand still (paused) and are set by hand, so that at any hour the two can be compared. Intervals and time-outs
stay real and short; only the wall clock jumps, as it does for a program that lives through a night.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from vnpy.trader.constant import Direction, Status
from vnpy.trader.event import EVENT_ORDER
from vnpy.trader.object import OrderData

from tests.harness import Rig
from vnpy_brokerkit.clock import ShiftedClock

IBM, TENCENT = "IBM.SMART", "00700.SEHK"
PLAIN = {IBM: (100.0, 0.01, 5), TENCENT: (400.0, 0.2, 100)}
"""Last price, tick, and what the tests call a lot."""
REGULAR = {IBM: "2026-03-10 13:30", TENCENT: "2026-03-10 02:00"}
"""An hour at which the instrument trades."""
EQUAL_WITHIN = 10.0
"""Seconds after an outage's end in which the engine equals the broker's truth."""
MOST_LINES = 10
"""Log lines that one outage may take."""
BACK = "已恢复：委托"
TERMINAL = frozenset({Status.ALLTRADED, Status.CANCELLED, Status.REJECTED})


def utc(text: str) -> datetime:
    """``2026-03-10 15:50`` as an instant."""
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=timezone.utc)


class Night:
    """A rig in data time. ``clock`` is the gateway's, :meth:`go` moves it and the broker's."""

    def __init__(self, rig: Rig, clock: ShiftedClock) -> None:
        self.rig = rig
        self._clock = clock
        self._outages = 0

    # -- the world

    def go(self, text: str) -> None:
        """It is this time now, in UTC, for everybody."""
        at = utc(text)
        self._clock.set(at)
        self.rig.sim.set_clock(at)

    def fault(self, do: str, **more: Any) -> None:
        self.rig.sim.faults([{"broker": self.rig.broker, "do": do, **more}])

    def quote(self, last: float, size: int = 1000, vt_symbol: str = IBM, step: float = 0.01) -> None:
        self.rig.sim.quote(
            vt_symbol, last=last, bid=round(last - step, 2), ask=round(last + step, 2), bid_size=size, ask_size=size
        )

    # -- trading

    def begin(self, vt_symbol: str = IBM) -> Night:
        """Connected, one stock followed, at its plain price."""
        self.rig.connect()
        self.show(vt_symbol)
        self.rig.subscribe(vt_symbol)
        last, step, _lot = PLAIN[vt_symbol]
        self.rig.wait(
            lambda: (tick := self.rig.main.get_tick(vt_symbol)) and abs(tick.ask_price_1 - last - step) < 1e-9,
            "the quote",
        )
        return self

    def show(self, vt_symbol: str = IBM) -> None:
        """The instrument at its plain price."""
        last, step, lot = PLAIN[vt_symbol]
        self.quote(last, 200 * lot, vt_symbol, step)

    def offer(self, lots: int, vt_symbol: str = IBM) -> None:
        """So many lots are for sale a tick below the plain price."""
        last, step, lot = PLAIN[vt_symbol]
        ask = last - step
        self.rig.sim.quote(vt_symbol, last=ask, bid=ask - step, ask=ask, bid_size=lot, ask_size=lots * lot)

    def buy(self, volume: float, price: float, vt_symbol: str = IBM) -> str:
        """A limit order that the broker has taken."""
        order = self.rig.send(vt_symbol, Direction.LONG, volume, price)
        taken = self.rig.wait_status(order, *(status for status in Status if status is not Status.SUBMITTING))
        assert taken.status not in (Status.REJECTED, Status.CANCELLED), self.lines()[-1]
        return order

    # -- what must hold

    @contextmanager
    def outage(self, *, restored: bool = True, most: int = MOST_LINES) -> Iterator[None]:
        """What goes wrong inside the block has ended at the block's end: from there on the promises of a night hold.

        ``restored``: the gateway says that it is back (it does where the connection or its session was lost).
        """
        self._outages += 1
        before = len(self.rig.seen.log_lines())
        yield
        if restored:
            self.wait_line(BACK, since=before)
        self.rig.wait_equal(EQUAL_WITHIN)
        lines = self.lines(before)
        assert len(lines) <= most, "\n".join(lines)
        self.check_ends()

    def over(self) -> None:
        """The night is over: once more everything, and all lines together."""
        self.rig.wait_equal(EQUAL_WITHIN)
        self.check_ends()

    def lines(self, since: int = 0) -> list[str]:
        return self.rig.seen.log_lines()[since:]

    def wait_line(self, *texts: str, since: int = 0) -> str:
        """Wait for a line with one of the texts."""
        return self.rig.wait(
            lambda: next((line for line in self.lines(since) if any(text in line for text in texts)), ""),
            f"log line {texts}",
            EQUAL_WITHIN,
        )

    def check_ends(self) -> None:
        """No order of the broker's was ever told with another end than its own, and none went on after its end."""
        ends = {row["id"]: row["status"] for row in self.rig.truth()["orders"]}
        told: dict[str, list[OrderData]] = {}
        for order in self.rig.seen.of(EVENT_ORDER):
            told.setdefault(order.vt_orderid, []).append(order)
        for vt_orderid, news in told.items():
            ended = [order.status for order in news if order.status in TERMINAL]
            broker_id = (news[-1].extra or {}).get("broker_id")
            if broker_id:
                assert {status.name for status in ended} <= {ends[broker_id]}, (vt_orderid, ended, ends[broker_id])
            first = next((n for n, order in enumerate(news) if order.status in TERMINAL), len(news))
            assert all(order.status in TERMINAL for order in news[first:]), (vt_orderid, [o.status for o in news])


@contextmanager
def night(make: Callable[..., Rig], at: str, vt_symbol: str = IBM, **options: Any) -> Iterator[Night]:
    """A broker and a gateway at this UTC time, not connected yet.

    Quotes stand as in the regular session of ``vt_symbol``, whatever the hour: its orders are filled at any time.
    """
    clock = ShiftedClock(utc(at), frozen=True)
    with make(gateway_clock=clock, clock="data", **options) as rig:
        made = Night(rig, clock)
        made.go(REGULAR[vt_symbol])
        rig.sim.pause()
        made.go(at)
        yield made
