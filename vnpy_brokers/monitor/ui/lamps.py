"""The lamps: a dot whose colour is the gateway's state, and a bar of them for the main window."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.event import EventEngine
from vnpy.trader.engine import MainEngine

from vnpy_brokerkit.health import Health, Lamp
from vnpy_brokerkit.i18n import _

from ...settings import DEMO_MARK
from ..engine import watched
from ..words import lamp_word, remark

REFRESH_MS = 500
DOT = 14
STOPPED = "#e74c3c"
DEMO_COLOUR = "#f5a623"
LAMP2COLOUR: Mapping[Lamp, str] = {
    Lamp.OFF: "#7f8c8d",
    Lamp.GOOD: "#2ecc71",
    Lamp.DEGRADED: "#f5a623",
    Lamp.RECONNECTING: "#f4d03f",
    Lamp.FAILED: "#e74c3c",
    Lamp.RESET: "#5dade2",
}


def colour_of(health: Health) -> str:
    """The colour of a gateway's word: the kill switch outdoes every state."""
    return STOPPED if health.stopped else LAMP2COLOUR[health.lamp]


class LampDot(QtWidgets.QWidget):
    """One lamp. With the kill switch on it is a no-entry sign with the state's colour around it."""

    def __init__(self, size: int = DOT, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedSize(size + 4, size + 4)
        self.lamp, self.stopped = Lamp.OFF, False

    def show_health(self, health: Health) -> None:
        """Take the lamp's colour, and its sign."""
        if (self.lamp, self.stopped) != (health.lamp, health.stopped):
            self.lamp, self.stopped = health.lamp, health.stopped
            self.update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(LAMP2COLOUR[self.lamp]))
        whole = QtCore.QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.drawEllipse(whole)
        if self.stopped:
            painter.setBrush(QtGui.QColor(STOPPED))
            painter.drawEllipse(whole.adjusted(2, 2, -2, -2))
            painter.setBrush(QtGui.QColor("white"))
            middle = whole.center().y()
            painter.drawRect(QtCore.QRectF(whole.left() + 4, middle - 1.5, whole.width() - 8, 3))
        painter.end()


class LampBar(QtWidgets.QWidget):
    """A small bar: per gateway its lamp, name and word; 模拟 plainly before them where nothing is real.

    For the main window's status bar or menu corner; needs no app. ``clicked`` is emitted when somebody clicks on it,
    as a wish to see the monitor's page. ``demo``: nothing is real, whether a gateway is connected or not.
    """

    clicked = QtCore.Signal()

    def __init__(
        self,
        main_engine: MainEngine,
        event_engine: EventEngine,
        *,
        demo: bool = False,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._main_engine = main_engine
        self._demo = demo
        self._lamps: dict[str, tuple[LampDot, QtWidgets.QLabel]] = {}
        self.demo_label = QtWidgets.QLabel(DEMO_MARK)
        self.demo_label.setStyleSheet(f"color: {DEMO_COLOUR}; font-weight: bold")
        self.demo_label.setToolTip(_("资金与成交都不是真实的"))
        self._layout = QtWidgets.QHBoxLayout(self)
        self._layout.setContentsMargins(8, 0, 8, 0)
        self._layout.setSpacing(6)
        self._layout.addWidget(self.demo_label)
        self.setCursor(QtCore.Qt.CursorShape.PointingHandCursor)
        # Asked rather than told: the lamps must not depend on an event engine that may hang or end.
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(REFRESH_MS)
        self.refresh()

    def refresh(self) -> None:
        """Ask every gateway how it is."""
        healths = {name: gateway.health() for name, gateway in watched(self._main_engine).items()}
        for name, health in healths.items():
            dot, label = self._lamps.get(name) or self._add(name)
            dot.show_health(health)
            label.setText(f"{name} {lamp_word(health)}")
            label.setStyleSheet(f"color: {colour_of(health)}")
            for part in (dot, label):
                part.setToolTip(f"{name}: {remark(health)}")
        self.demo_label.setVisible(self._demo or any(health.embedded for health in healths.values()))

    def text(self) -> str:
        """What stands in the bar."""
        demo = [self.demo_label.text()] if self.demo_label.isVisibleTo(self) else []
        return " ".join([*demo, *(label.text() for _dot, label in self._lamps.values())])

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self.clicked.emit()

    def _add(self, name: str) -> tuple[LampDot, QtWidgets.QLabel]:
        dot, label = LampDot(), QtWidgets.QLabel()
        self._lamps[name] = dot, label
        self._layout.addWidget(dot)
        self._layout.addWidget(label)
        return dot, label
