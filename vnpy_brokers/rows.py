"""VN Trader's tables of quotes and log lines, such that neither many symbols nor a long day stop the window.

vn.py's table of quotes sorts all of its rows in Python at each tick: with some hundred symbols that is all the window
does. Its log keeps each line of a week.

The classes are named as vn.py's own, since that name is what the widths of the columns are remembered under.
"""

from __future__ import annotations

import time
from typing import Any

from PySide6 import QtCore, QtWidgets
from vnpy.event import Event, EventEngine
from vnpy.trader.engine import MainEngine
from vnpy.trader.object import LogData, TickData
from vnpy.trader.ui import widget

from .prices import digits_of, price_text, quantity_text

DRAW_EVERY_MS = 100
"""Nobody reads faster, and each drawing makes Qt paint the table anew."""
SLICE_MS = 5
"""Between two parts of one drawing."""
BUDGET_S = 0.0002
"""Most of one part: the window answers in between."""
SORT_EVERY_S = 1.0
"""A chosen order of the rows is restored as seldom, for which all rows are drawn."""
EVERYTHING_EVERY_S = 3.0
"""Else rows that are out of sight are drawn as seldom."""
HOLD_S = 0.5
"""A new row moves all others, and Qt paints each of them anew: with hundreds of new ones that is all the window would
do. So nothing is painted while rows come in, for so long at most.
"""

MOST_LINES = 2_000

PRICES = frozenset({"last_price", "open_price", "high_price", "low_price", "bid_price_1", "ask_price_1"})
QUANTITIES = frozenset({"volume", "bid_volume_1", "ask_volume_1"})


class TickMonitor(widget.TickMonitor):
    """The newest tick of each symbol, with the price's own decimals.

    It never falls behind: ticks that nobody could see are not drawn.
    """

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        self._newest: dict[str, TickData] = {}
        """Written in the event thread, taken out in the window's: single operations, which need no lock."""
        self._to_draw: list[str] = []
        self._seen: set[str] = set()
        """The symbols whose rows are in sight."""
        self._drawn: dict[str, tuple[TickData, int]] = {}
        """What stands in the rows, and with how many decimals."""
        self._everything_at = 0.0
        self._held_at: float | None = None
        """When painting was put off."""
        super().__init__(main_engine, event_engine)
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self._draw)
        self._timer.start(DRAW_EVERY_MS)

    def register_event(self) -> None:
        """Hear of ticks without waking the window for each one."""
        self.event_engine.register(self.event_type, self._take)

    def _take(self, event: Event) -> None:
        tick: TickData = event.data
        self._newest[tick.vt_symbol] = tick

    def init_table(self) -> None:
        """Sorting is done here, now and then, and only where the person chose a column."""
        super().init_table()
        self.setSortingEnabled(False)
        self.horizontalHeader().setSortIndicator(-1, QtCore.Qt.SortOrder.AscendingOrder)
        self.horizontalHeader().setSortIndicatorShown(True)
        self.horizontalHeader().setSectionsClickable(True)
        self.horizontalHeader().sortIndicatorChanged.connect(self._sort)

    def _draw(self) -> None:
        """Draw some of what is new; the rest soon, and what comes meanwhile after that."""
        now = time.perf_counter()
        if not self._to_draw:
            self._choose(now)
        while self._to_draw and time.perf_counter() < now + BUDGET_S:
            tick = self._newest.pop(self._to_draw.pop())
            if tick.vt_symbol in self.cells:
                self.update_old_row(tick)
            else:
                self._hold(now)
                self.insert_new_row(tick)
            if tick.vt_symbol in self._seen:
                break  # painting a row costs more than filling it in
        if self._held_at is not None and (not self._to_draw or now - self._held_at > HOLD_S):
            self._held_at = None
            self.viewport().setUpdatesEnabled(True)
        self._timer.setInterval(SLICE_MS if self._to_draw else DRAW_EVERY_MS)

    def _hold(self, now: float) -> None:
        """Paint nothing for a while."""
        if self._held_at is None:
            self._held_at = now
            self.viewport().setUpdatesEnabled(False)

    def _choose(self, now: float) -> None:
        """Choose what to draw: what is in sight or new, and now and then everything."""
        self._seen = seen = self._in_sight()
        sorts = self.horizontalHeader().sortIndicatorSection() >= 0
        if now - self._everything_at < (SORT_EVERY_S if sorts else EVERYTHING_EVERY_S):
            self._to_draw = [name for name in list(self._newest) if name in seen or name not in self.cells]
        else:
            self._everything_at = now
            self._sort()
            self._to_draw = list(self._newest)

    def _in_sight(self) -> set[str]:
        first, last = self.rowAt(0), self.rowAt(self.viewport().height() - 1)
        if first < 0 or not self.isVisible():
            return set()
        rows = range(first, (last if last >= 0 else self.rowCount() - 1) + 1)
        cells = (self.item(row, 0) for row in rows)
        return {cell.get_data().vt_symbol for cell in cells if isinstance(cell, widget.BaseCell)}

    def _sort(self) -> None:
        header = self.horizontalHeader()
        if header.sortIndicatorSection() >= 0:
            self.sortItems(header.sortIndicatorSection(), header.sortIndicatorOrder())

    def insert_new_row(self, data: TickData) -> None:
        """Insert a row, with numbers as a person reads them."""
        super().insert_new_row(data)
        self.update_old_row(data)

    def update_old_row(self, data: TickData) -> None:
        """Draw what changed in a row."""
        contract = self.main_engine.get_contract(data.vt_symbol)
        digits = digits_of(contract, data.last_price)
        known, known_digits = self._drawn.get(data.vt_symbol, (None, digits))
        self._drawn[data.vt_symbol] = data, digits
        for name, cell in self.cells[data.vt_symbol].items():
            value = getattr(data, name)
            if name == "name" and contract:
                value = contract.name  # a broker's quotes may carry none
            elif known and digits == known_digits and value == getattr(known, name):
                continue
            content = _content(name, value, digits)
            if content is None:
                cell.set_content(value, data)
            elif cell.text() != content:
                cell.set_content(content, data)


def _content(name: str, value: Any, digits: int) -> str | None:
    if name in PRICES:
        return price_text(value, digits)
    if name in QUANTITIES:
        return quantity_text(value)
    return str(value) if name == "name" else None


class LogMonitor(widget.LogMonitor):
    """The newest lines; the message takes the room that there is, and shows whole under the mouse."""

    def init_table(self) -> None:
        """Let the message's column take what the others leave."""
        super().init_table()
        self._message = list(self.headers).index("msg")
        self.horizontalHeader().setSectionResizeMode(self._message, QtWidgets.QHeaderView.ResizeMode.Stretch)

    def resize_columns(self) -> None:
        """Fit the other columns; this one has the rest."""
        for column in range(self.columnCount()):
            if column != self._message:
                self.resizeColumnToContents(column)

    def load_setting(self) -> None:
        """Restore the columns, of which an older layout knew no stretch."""
        super().load_setting()
        self.horizontalHeader().setSectionResizeMode(self._message, QtWidgets.QHeaderView.ResizeMode.Stretch)

    def insert_new_row(self, data: LogData) -> None:
        """Add a line on top; the oldest ones are in vn.py's log file."""
        super().insert_new_row(data)
        item = self.item(0, self._message)
        if item:
            item.setToolTip(data.msg)
        while self.rowCount() > MOST_LINES:
            self.removeRow(self.rowCount() - 1)
