"""The latency of the last day: per gateway the median of each minute as a line, its slowest round trip as dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyqtgraph as pg
from PySide6 import QtCore, QtWidgets

from vnpy_brokerkit.async_gateway import database_zone
from vnpy_brokerkit.health import LatencyPoint
from vnpy_brokerkit.i18n import _

COLOURS = ("#5dade2", "#f5b041", "#58d68d", "#af7ac5")
BACKGROUND = "#19232d"
"""vn.py's dark style."""
LEAST_MS = 0.01
"""What a logarithmic axis can show of nothing."""
LABELLED = ("1", "2", "5")
"""First digits of the labels on that axis."""
LEAST_SPAN_S = 600
"""What the axis of time spans at least: the first minutes else show fractions of a second."""

# pyqtgraph has no types.
_graph: Any = pg


class _PlainAxis(pg.AxisItem):
    """A logarithmic axis whose ticks are plain numbers, few enough to be read."""

    def logTickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        texts = (f"{10**value:.1g}" for value in values)
        return [f"{float(text):g}" if text.strip("0.")[:1] in LABELLED else "" for text in texts]


class LatencyPlot(QtWidgets.QStackedWidget):
    """The plot, or a sentence while there is nothing to plot. ``title`` is its legend too; the page places it."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QtWidgets.QLabel(_("往返延迟"))
        # However long it gets, it must not make the page wider.
        self.title.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setToolTip(_("线：每分钟的中位数；三角：每分钟最慢的一次"))
        self._empty = QtWidgets.QLabel(_("还没有延迟数据；连接后每分钟记录一次"))
        self._empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self._shown: dict[str, Sequence[LatencyPoint]] = {}
        self._curves: dict[str, tuple[Any, Any]] = {}
        self._plot = _graph.PlotWidget(
            background=BACKGROUND, axisItems={"left": _PlainAxis("left"), "bottom": _graph.DateAxisItem()}
        )
        self._plot.setLogMode(x=False, y=True)
        self._plot.setMouseEnabled(x=True, y=False)
        self._plot.setLimits(minXRange=LEAST_SPAN_S)
        self._plot.showGrid(x=True, y=True, alpha=0.2)
        self._plot.setMenuEnabled(False)
        self._plot.hideButtons()
        self.addWidget(self._empty)
        self.addWidget(self._plot)

    def show_points(self, points: Mapping[str, Sequence[LatencyPoint]]) -> None:
        """Show the points of each gateway."""
        for name, known in points.items():
            if known and known != self._shown.get(name):
                self._draw(name, known)
        self.setCurrentWidget(self._plot if self._shown else self._empty)

    def _draw(self, name: str, points: Sequence[LatencyPoint]) -> None:
        offset = points[-1].minute.astimezone(database_zone()).utcoffset()
        self._plot.getAxis("bottom").utcOffset = -offset.total_seconds() if offset else 0
        self._shown[name] = points
        line, dots = self._curves.get(name) or self._add(name)
        times = [point.minute.timestamp() for point in points]
        line.setData(times, [max(LEAST_MS, point.median * 1000) for point in points])
        dots.setData(times, [max(LEAST_MS, point.worst * 1000) for point in points])

    def _add(self, name: str) -> tuple[Any, Any]:
        colour = COLOURS[len(self._curves) % len(COLOURS)]
        dim = _graph.mkColor(colour)
        dim.setAlpha(110)
        # The dots first: the lines are drawn over them. One point alone makes no line, so it has a dot as well.
        dots = self._plot.plot(pen=None, symbol="t1", symbolSize=5, symbolBrush=None, symbolPen=dim)
        line = self._plot.plot(
            pen=_graph.mkPen(colour, width=2), symbol="o", symbolSize=3, symbolBrush=colour, symbolPen=None
        )
        self._curves[name] = line, dots
        names = "&nbsp; ".join(
            f"<span style='color: {colour}'>●</span>&nbsp;{known}"
            for known, colour in zip(self._curves, COLOURS * len(self._curves), strict=False)
        )
        self.title.setText(_("往返延迟（毫秒）") + f"&nbsp; {names}")
        return line, dots
