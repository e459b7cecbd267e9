"""The market data requests of one instrument, as the wire speaks to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from .board import DELAYED_DATA_TYPES, NO_PRICE, Board, is_told
from .contracts import Key
from .wire.tws import Wire

LAST_PRICES = frozenset({4, 68})


class Outlet(Protocol):
    """Who gives out what a line brings."""

    def touch(self, line: LineStream) -> None: ...
    def give(self, line: LineStream) -> None: ...


class LineOwner(Protocol):
    """Who is told how a line fares."""

    def on_line_error(self, line: LineStream, code: int, text: str) -> None: ...


class DepthOwner(Protocol):
    """Who is told what a depth request brings."""

    def on_rows(self, depth: DepthStream) -> None: ...
    def on_error(self, depth: DepthStream, code: int, text: str) -> None: ...


@dataclass(eq=False)
class LineStream:
    """One market data line: the request, and what came of it."""

    owner: LineOwner
    outlet: Outlet
    board: Board
    req_id: int = 0
    wire: Wire | None = None
    generic: str = ""
    """The extra ticks that are asked for with it."""
    asked: int = 0
    """Grows with each call for the instrument: the smallest gives way first."""
    alive: bool = False
    """It is open at TWS, and nothing has ended it."""
    broken: bool = False
    """It ended without our doing, and is tried again."""
    denied: bool = False
    """There is no right to it."""
    delayed_tried: bool = False
    room_made: bool = False
    settled: bool = False
    """The first ticks had their time to arrive."""
    dirty: bool = False
    last_pending: bool = False
    """A last price waits to be given out: the next one must not cover it."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """It has a price."""

    @property
    def key(self) -> Key:
        return self.board.instrument.key

    def on_price(self, kind: int, price: float, size: float) -> None:
        is_last = kind in LAST_PRICES and is_told(price) and price != NO_PRICE
        if is_last and self.last_pending and self.dirty:
            self.outlet.give(self)
        if self.board.take_price(kind, price, size):
            self.last_pending = self.last_pending or is_last
            self.outlet.touch(self)

    def on_size(self, kind: int, size: float) -> None:
        if self.board.take_size(kind, size):
            self.outlet.touch(self)

    def on_text(self, kind: int, value: str) -> None:
        if self.board.take_text(kind, value):
            self.outlet.touch(self)

    def on_number(self, kind: int, value: float) -> None:
        if self.board.take_number(kind, value):
            self.outlet.touch(self)

    def on_data_type(self, kind: int) -> None:
        self.board.delayed = kind in DELAYED_DATA_TYPES
        self.denied = False

    def on_depth(self, position: int, operation: int, side: int, price: float, size: float) -> None:
        """Depth has requests of its own."""

    def on_snapshot_end(self) -> None:
        """Snapshots are not asked for."""

    def on_stream_error(self, code: int, text: str) -> None:
        self.owner.on_line_error(self, code, text)


@dataclass(eq=False)
class DepthStream:
    """One depth request, which brings rows of the book and nothing else."""

    owner: DepthOwner
    line: LineStream
    smart: bool
    """It gathers the venues of SMART."""
    req_id: int
    wire: Wire

    def on_price(self, kind: int, price: float, size: float) -> None:
        """Not of a depth request."""

    def on_size(self, kind: int, size: float) -> None:
        """Not of a depth request."""

    def on_text(self, kind: int, value: str) -> None:
        """Not of a depth request."""

    def on_number(self, kind: int, value: float) -> None:
        """Not of a depth request."""

    def on_data_type(self, kind: int) -> None:
        """The line tells it."""

    def on_depth(self, position: int, operation: int, side: int, price: float, size: float) -> None:
        self.line.board.take_depth(position, operation, side, price, size)
        self.owner.on_rows(self)

    def on_snapshot_end(self) -> None:
        """Snapshots are not asked for."""

    def on_stream_error(self, code: int, text: str) -> None:
        self.owner.on_error(self, code, text)
