"""The card of one gateway: lamp, words, figures, and the buttons that act on it."""

from __future__ import annotations

from datetime import datetime, timedelta

from PySide6 import QtCore, QtWidgets

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.findings import Occasion
from vnpy_brokerkit.health import Health, Lamp, Market
from vnpy_brokerkit.i18n import _

from ..engine import MonitorEngine
from ..words import figures, lamp_word, marks, remark
from .lamps import DEMO_COLOUR, STOPPED, LampDot, colour_of

RECONCILE_MOST = timedelta(seconds=30)
"""How long the button waits for its report; who reads long lists reports later."""
REMARK_LINES = 3
ROOMY = "padding: 3px 10px"

Button = QtWidgets.QMessageBox.StandardButton


def ask(parent: QtWidgets.QWidget, title: str, question: str) -> bool:
    """Ask a person, the answer being No unless Yes is chosen."""
    answer = QtWidgets.QMessageBox.question(parent, title, question, Button.Yes | Button.No, Button.No)
    return answer == Button.Yes


def style_stop(button: QtWidgets.QPushButton, on: bool) -> None:
    """Show a kill switch as pulled or not."""
    style = f"{ROOMY}; background-color: {STOPPED}; color: white; font-weight: bold" if on else ROOMY
    if button.styleSheet() != style:
        button.setStyleSheet(style)


class Card(QtWidgets.QFrame):
    """Shows one gateway; :meth:`show_health` is called again and again."""

    def __init__(self, engine: MonitorEngine, gateway: AsyncGateway, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self._gateway = gateway
        self._asked: datetime | None = None
        """When a reconciliation was asked for that has not reported yet."""
        self._markets: tuple[Market, ...] = ()
        self.setObjectName("card")
        self.setStyleSheet("#card { border: 1px solid #455364; border-radius: 4px }")
        layout = QtWidgets.QVBoxLayout(self)
        layout.addLayout(self._make_head())
        layout.addWidget(self._make_remark())
        layout.addLayout(self._make_figures())
        layout.addStretch()
        layout.addLayout(self._make_buttons())

    # ------------------------------------------------------------------ showing

    def show_health(self, health: Health) -> None:
        """Show how the gateway is."""
        self.dot.show_health(health)
        self.lamp_label.setText(lamp_word(health))
        self.lamp_label.setStyleSheet(f"color: {colour_of(health)}; font-weight: bold")
        found = marks(health)
        self.marks_label.setText(" ".join(_("【{}】").format(mark) for mark in found))
        self.marks_label.setVisible(bool(found))
        self.remark_label.setText(remark(health))
        self.remark_label.setToolTip(remark(health))
        for (_name, value), label in zip(figures(health, self._gateway.clock.now()), self._values, strict=True):
            label.setText(value)
        self._values[-1].setStyleSheet(f"color: {DEMO_COLOUR}; font-weight: bold" if health.unknown else "")
        self._show_buttons(health)

    def _show_buttons(self, health: Health) -> None:
        self.stop_button.setChecked(health.stopped)
        self.stop_button.setText(_("解除紧急停止") if health.stopped else _("紧急停止"))
        style_stop(self.stop_button, health.stopped)
        report, asked = health.report, self._asked
        if asked and (
            (report and report.occasion is Occasion.DEMAND and report.ended >= asked)
            or self._gateway.clock.now() - asked > RECONCILE_MOST
        ):
            self._asked = asked = None
        connected = health.lamp in (Lamp.GOOD, Lamp.DEGRADED)
        self.reconcile_button.setEnabled(connected and asked is None)
        self.reconcile_button.setText(_("对账中…") if asked else _("立即对账"))
        self.cancel_button.setEnabled(connected)
        if health.markets != self._markets:
            self._markets = health.markets
            self._fill_markets()

    def _fill_markets(self) -> None:
        """Renew the drop-down, keeping what is chosen."""
        chosen = self.market_combo.currentData()
        self.market_combo.clear()
        total = sum(market.orders for market in self._markets)
        self.market_combo.addItem(_("全部市场（{}笔）").format(total), "")
        for market in self._markets:
            self.market_combo.addItem(_("{}（{}笔）").format(market.name, market.orders), market.key)
        self.market_combo.setCurrentIndex(max(0, self.market_combo.findData(chosen)))

    # ------------------------------------------------------------------ acting

    def reconcile(self) -> None:
        """Compare with the broker now."""
        self._asked = self._gateway.clock.now()
        self._engine.reconcile(self._gateway.gateway_name)
        self.show_health(self._gateway.health())

    def cancel_all(self) -> None:
        """Cancel the orders of the chosen market, after a question that names what it means."""
        key = self.market_combo.currentData() or ""
        meant = [market for market in self._gateway.health().markets if key in ("", market.key)]
        orders = sum(market.orders for market in meant)
        name = self._gateway.gateway_name
        where = _("、").join(market.name for market in meant if market.orders or key)
        if not orders:
            text = _("{}没有本接口可撤的委托").format(f"{name} {where}".strip())
            QtWidgets.QMessageBox.information(self, _("全部撤单"), text, Button.Ok)
            return
        question = _("撤销{}在{}的全部{}笔活动委托？").format(name, where, orders)
        if ask(self, _("全部撤单"), question):
            self._engine.cancel_all(name, key)

    def toggle_stop(self) -> None:
        """Pull the kill switch at once; release it after a question."""
        name = self._gateway.gateway_name
        on = not self._gateway.health().stopped
        if on or ask(self, _("解除紧急停止"), _("恢复{}接受新委托？").format(name)):
            self._engine.stop_orders(on, name)
        self.show_health(self._gateway.health())

    # ------------------------------------------------------------------ making

    def _make_head(self) -> QtWidgets.QHBoxLayout:
        self.dot = LampDot(18)
        name = QtWidgets.QLabel(self._gateway.gateway_name)
        font = name.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() * 1.2)
        name.setFont(font)
        self.lamp_label = QtWidgets.QLabel()
        self.marks_label = QtWidgets.QLabel()
        self.marks_label.setStyleSheet(f"color: {DEMO_COLOUR}; font-weight: bold")
        head = QtWidgets.QHBoxLayout()
        for part in (self.dot, name, self.lamp_label):
            head.addWidget(part)
        head.addStretch()
        head.addWidget(self.marks_label)
        return head

    def _make_remark(self) -> QtWidgets.QLabel:
        self.remark_label = QtWidgets.QLabel()
        self.remark_label.setWordWrap(True)
        self.remark_label.setAlignment(QtCore.Qt.AlignmentFlag.AlignTop | QtCore.Qt.AlignmentFlag.AlignLeft)
        # One height whatever it says: the page must not jump when a lamp changes.
        self.remark_label.setFixedHeight(self.remark_label.fontMetrics().lineSpacing() * REMARK_LINES + 12)
        return self.remark_label

    def _make_figures(self) -> QtWidgets.QGridLayout:
        grid = QtWidgets.QGridLayout()
        grid.setHorizontalSpacing(16)
        self._values: list[QtWidgets.QLabel] = []
        for column, (heading, _value) in enumerate(figures(self._gateway.health(), self._gateway.clock.now())):
            caption, value = QtWidgets.QLabel(heading), QtWidgets.QLabel()
            caption.setStyleSheet("color: #9aa5b1")
            grid.addWidget(caption, 0, column)
            grid.addWidget(value, 1, column)
            self._values.append(value)
        grid.setColumnStretch(len(self._values), 1)
        return grid

    def _make_buttons(self) -> QtWidgets.QHBoxLayout:
        self.reconcile_button = QtWidgets.QPushButton(_("立即对账"))
        self.reconcile_button.clicked.connect(self.reconcile)
        self.market_combo = QtWidgets.QComboBox()
        # As narrow as the longest name of all markets; the list itself shows whole names.
        self.market_combo.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.market_combo.setMinimumContentsLength(12)
        self.market_combo.setToolTip(_("只含本接口的委托；在别处下的委托按“外部委托”设置"))
        self._fill_markets()
        self.cancel_button = QtWidgets.QPushButton(_("全部撤单"))
        self.cancel_button.clicked.connect(self.cancel_all)
        self.stop_button = QtWidgets.QPushButton(_("紧急停止"))
        self.stop_button.setCheckable(True)
        self.stop_button.setToolTip(_("拒绝一切新委托，撤单照常；重新连接后仍有效，重启程序后失效"))
        self.stop_button.clicked.connect(self.toggle_stop)
        for button in (self.reconcile_button, self.cancel_button):
            button.setStyleSheet(ROOMY)
        row = QtWidgets.QHBoxLayout()
        row.addWidget(self.reconcile_button)
        row.addStretch()
        row.addWidget(self.market_combo)
        row.addWidget(self.cancel_button)
        row.addStretch()
        row.addWidget(self.stop_button)
        return row
