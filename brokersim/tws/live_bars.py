"""Bars that are built from the running quotes: 5-second real-time bars, and the running bar of a history kept up to
date (tws-api 4.3, 6.3, 6.4, 16)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brokersim.model import ZERO, Bar, Quote

WHAT_QUOTES = frozenset({"MIDPOINT", "BID", "ASK", "BID_ASK"})
"""What is shown without a volume."""


def shown_price(quote: Quote, what: str) -> Decimal | None:
    """The price of a quote that ``whatToShow`` names; None when it has none."""
    bid = quote.bids[0].price if quote.bids else None
    ask = quote.asks[0].price if quote.asks else None
    if what == "BID":
        return bid
    if what == "ASK":
        return ask
    if what in ("MIDPOINT", "BID_ASK"):
        return (bid + ask) / 2 if bid and ask else None
    return quote.last if quote.open else None


def traded(quote: Quote, previous: Quote | None, what: str) -> tuple[int, Decimal]:
    """Volume and turnover that a quote adds to a bar of ``what``."""
    if what in WHAT_QUOTES or previous is None or quote.volume <= previous.volume:
        return 0, ZERO
    return quote.volume - previous.volume, quote.turnover - previous.turnover


@dataclass
class RunningBar:
    """One bar in the making; ``start`` is epoch seconds."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = 0
    turnover: Decimal = ZERO
    count: int = 0

    @classmethod
    def at(cls, start: datetime, price: Decimal) -> RunningBar:
        """A bar that begins with one price."""
        return cls(int(start.timestamp()), price, price, price, price)

    @classmethod
    def of(cls, bar: Bar) -> RunningBar:
        """A bar that goes on from what it is so far."""
        start, count = int(bar.time.timestamp()), max(1, bar.volume // 100)
        return cls(start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover, count)

    def add(self, price: Decimal, volume: int, turnover: Decimal) -> None:
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += volume
        self.turnover += turnover
        self.count += 1 if volume else 0

    def average(self, size: Decimal) -> Decimal:
        """The volume-weighted price, the close without any volume."""
        return round(self.turnover / self.volume / size, 6) if self.volume else self.close


class BarMaker:
    """Quotes in, finished bars of ``seconds`` out, empty ones between them at the last close."""

    LONGEST_GAP = 720
    """A gap of more bars than this is a jump of the clock: no empty bars fill it."""

    def __init__(self, seconds: int, what: str, emit: Callable[[RunningBar], None]) -> None:
        self.running: RunningBar | None = None
        self._seconds = seconds
        self._what = what
        self._emit = emit

    def begin(self, at: int, quote: Quote) -> None:
        """Start at an epoch second with the standing quote."""
        price = shown_price(quote, self._what)
        if price is not None:
            self.running = RunningBar(self._floor(at), price, price, price, price)

    def on_quote(self, at: int, quote: Quote, previous: Quote | None) -> None:
        price = shown_price(quote, self._what)
        if price is None:
            return
        self.pass_time(at)
        if self.running is None:
            self.begin(at, quote)
        assert self.running is not None
        volume, turnover = traded(quote, previous, self._what)
        self.running.add(price, volume, turnover)

    def pass_time(self, at: int) -> None:
        """Finish every bar that has ended by an epoch second."""
        start = self._floor(at)
        if self.running is not None and start - self.running.start > self.LONGEST_GAP * self._seconds:
            close = self.running.close
            self._emit(self.running)
            self.running = RunningBar(start, close, close, close, close)
        while self.running is not None and self.running.start < start:
            done = self.running
            self._emit(done)
            close = done.close
            self.running = RunningBar(done.start + self._seconds, close, close, close, close)

    def _floor(self, at: int) -> int:
        return at - at % self._seconds
