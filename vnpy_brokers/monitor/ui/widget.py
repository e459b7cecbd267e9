"""The page 券商监控: a card per gateway, the latency of the day, the last reconciliation, the order journal."""

from __future__ import annotations

from typing import cast

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.event import EventEngine
from vnpy.trader.engine import MainEngine

from vnpy_brokerkit.i18n import _

from ..engine import APP_NAME, MonitorEngine
from .cards import Card, ask, style_stop
from .lamps import REFRESH_MS
from .latency_plot import LatencyPlot
from .tables import JournalView, ReportTable

SIZE = (1280, 800)


class MonitorWidget(QtWidgets.QWidget):
    """The page; vn.py makes it when its menu item is first chosen. It looks at the gateways while it is shown."""

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        super().__init__()
        self._engine = cast(MonitorEngine, main_engine.get_engine(APP_NAME))
        self.setWindowTitle(_("券商监控"))
        self.cards: dict[str, Card] = {}
        self.plot = LatencyPlot()
        self.reports = ReportTable()
        self.journal = JournalView(self._engine.gateways)
        self._make_layout()
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()
        self.resize(*SIZE)

    def refresh(self) -> None:
        """Look at every gateway."""
        healths = self._engine.health()
        for name, gateway in self._engine.gateways().items():
            card = self.cards.get(name)
            if card is None:
                card = self.cards[name] = Card(self._engine, gateway)
                self._card_row.addWidget(card, 1)
            card.show_health(healths[name])
        self._none.setVisible(not self.cards)
        stopped = bool(healths) and all(health.stopped for health in healths.values())
        self.stop_all_button.setChecked(stopped)
        self.stop_all_button.setText(_("解除全部紧急停止") if stopped else _("全部紧急停止"))
        self.stop_all_button.setEnabled(bool(healths))
        style_stop(self.stop_all_button, stopped)
        self.plot.show_points({name: gateway.latencies.points() for name, gateway in self._engine.gateways().items()})
        self.reports.show_health(healths)

    def toggle_stop_all(self) -> None:
        """Pull every kill switch at once; release them after a question."""
        healths = self._engine.health()
        on = not all(health.stopped for health in healths.values())
        if on or ask(self, _("解除全部紧急停止"), _("恢复{}接受新委托？").format(_("、").join(healths))):
            self._engine.stop_orders(on)
        self.refresh()

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        self._timer.start()
        self.journal.start()
        self.refresh()

    def hideEvent(self, event: QtGui.QHideEvent) -> None:
        self._timer.stop()
        self.journal.stop()

    # ------------------------------------------------------------------ making

    def _make_layout(self) -> None:
        self.stop_all_button = QtWidgets.QPushButton()
        self.stop_all_button.setCheckable(True)
        self.stop_all_button.setToolTip(_("拒绝一切新委托，撤单照常；重新连接后仍有效，重启程序后失效"))
        self.stop_all_button.clicked.connect(self.toggle_stop_all)
        head = QtWidgets.QHBoxLayout()
        head.addWidget(QtWidgets.QLabel(_("各接口的连接、对账与委托日志")))
        head.addStretch()
        head.addWidget(self.stop_all_button)

        self._none = QtWidgets.QLabel(_("没有可监控的接口"))
        self._none.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self._card_row = QtWidgets.QHBoxLayout()
        self._card_row.addWidget(self._none)

        middle = QtWidgets.QSplitter(QtCore.Qt.Orientation.Horizontal)
        middle.addWidget(_titled(self.plot.title, self.plot))
        middle.addWidget(_titled(QtWidgets.QLabel(_("最近一次对账")), self.reports))
        middle.setSizes([SIZE[0] * 2 // 5, SIZE[0] * 3 // 5])
        parts = QtWidgets.QSplitter(QtCore.Qt.Orientation.Vertical)
        parts.addWidget(middle)
        parts.addWidget(self.journal)
        parts.setSizes([SIZE[1] * 3 // 10, SIZE[1] * 3 // 10])
        parts.setChildrenCollapsible(False)

        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(head)
        layout.addLayout(self._card_row)
        layout.addWidget(parts, 1)


def _titled(title: QtWidgets.QLabel, widget: QtWidgets.QWidget) -> QtWidgets.QWidget:
    """A widget below its title."""
    titled = QtWidgets.QWidget()
    layout = QtWidgets.QVBoxLayout(titled)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(title)
    layout.addWidget(widget, 1)
    return titled
