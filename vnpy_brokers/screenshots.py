"""``python -m vnpy_brokers.screenshots [FOLDER]``: the pictures of docs/window.md, taken anew in both languages.

VN Trader runs offscreen on the embedded simulators, in a vn.py folder of its own, and does what ``run.py --demo`` does;
then an odd lot is refused, an unknown symbol is looked for, and each page is opened. The environment decides the
language, once per process, so each language is a child process. Needs a Chinese font, also for the English pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from vnpy_brokerkit.i18n import _

from .console import say, speak_utf8
from .folder import demo_folder
from .qt_probe import why_no_window
from .refusal import Refusal
from .settings import GATEWAYS, demo_setting

if TYPE_CHECKING:
    import numpy.typing as npt
    from PySide6 import QtGui, QtWidgets

    from .trader import TraderEngine
    from .window import TraderWindow

DONE, REFUSED = 0, 2
IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LANGUAGES: Mapping[str, str] = {"zh": "zh_CN", "en": "en_US"}
"""What ends a picture's name, and the locale that it is taken in."""
PICTURES = (
    "connect_vbrokers",
    "connect_ibkr",
    "window",
    "panel",
    "log",
    "monitor",
    "kill_switch",
    "contracts",
    "cta",
)
ZONE = "Asia/Shanghai"
WINDOW, LOG, PAGE, CONTRACTS = (1440, 1040), (1280, 420), (1280, 800), (1280, 420)
"""Sizes in pixels. VN Trader's window can be no lower than about 930."""
TABLES_BELOW = 190
"""Height of the tables at the window's bottom: by default they show two rows."""
COLOURS = 256
NEIGHBOURHOOD_BITS = 4
"""Colours that differ in their lowest bits alone are neighbours."""
CHILD_DEADLINE_S = 400.0
STEP_DEADLINE_S = 90.0
SETTLE_S = 1.2
"""Until Qt has drawn what came last, and the lamps, which are asked every half second, have it, too."""
UNKNOWN_SYMBOL = "NOSUCH"


def main(argv: Sequence[str] | None = None) -> int:
    """Take the pictures and return the exit code: 0, or 2 with one line on stderr."""
    speak_utf8()
    parser = argparse.ArgumentParser(
        prog="python -m vnpy_brokers.screenshots",
        description="文档的截图 / the pictures of the documents",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=IMAGES, help="图片目录 / where to write (docs/images)")
    add("--data", type=Path, metavar="DIR", help="内置模拟回放的行情目录 / market data that the simulators replay")
    add("--language", choices=LANGUAGES, action="append", help="只截这种语言 / only this language")
    add("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    folder, data = given.folder.absolute(), given.data.absolute() if given.data else None
    languages: Sequence[str] = given.language or list(LANGUAGES)
    try:
        if given.in_this_process:
            _take(folder, languages[0], data)
            return DONE
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        reason = why_no_window()
        if reason is not None:
            raise Refusal(_("无法截图：{}").format(reason))
        folder.mkdir(parents=True, exist_ok=True)
        for language in languages:
            _run_child(folder, language, data)
    except Refusal as refusal:
        say(str(refusal))
        return REFUSED
    return DONE


def _run_child(folder: Path, language: str, data: Path | None) -> None:
    """Take the pictures of one language. Raises `Refusal` with what the child said."""
    locale = LANGUAGES[language]
    environment = dict(
        os.environ,
        LANGUAGE=locale,
        LANG=f"{locale}.UTF-8",
        TZ=ZONE,  # else a line warns that vn.py's zone is another
        PYTHONUTF8="1",
        PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
    )
    command = [sys.executable, "-m", "vnpy_brokers.screenshots", str(folder), "--language", language]
    command += ["--in-this-process", *(["--data", str(data)] if data else [])]
    # The package may be a checkout that is not installed.
    root = str(IMAGES.parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH", ""))))
    try:
        child = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=CHILD_DEADLINE_S,
        )
    except subprocess.TimeoutExpired:
        raise Refusal(_("截图在 {:.0f} 秒内没有完成").format(CHILD_DEADLINE_S)) from None
    if child.returncode != DONE:
        raise Refusal(child.stderr.strip() or _("截图进程以代码 {} 结束").format(child.returncode))


def _take(folder: Path, language: str, data: Path | None) -> None:
    """Take the pictures of this process's language. Raises `Refusal`."""
    with demo_folder() as home:
        settings = {"log.console": False, "log.file": False, "database.timezone": ZONE}
        (home / ".vntrader" / "vt_setting.json").write_text(json.dumps(settings), encoding="utf-8")
        from PySide6 import QtGui
        from vnpy.event import EventEngine
        from vnpy.trader.ui import create_qapp

        from vnpy_brokerkit import embedded

        from .trader import APPS, TraderEngine
        from .window import TraderWindow

        qapp = create_qapp()
        if not QtGui.QFontDatabase.families(QtGui.QFontDatabase.WritingSystem.SimplifiedChinese):
            raise Refusal(_("没有中文字体，无法截图；请安装一种，例如 fonts-wqy-zenhei"))
        embedded.configure(data)
        engine = TraderEngine(EventEngine())
        engine.add_gateways(list(GATEWAYS))
        engine.add_apps(APPS)
        window = TraderWindow(engine, demo=True)
        try:
            _Session(qapp, engine, window, folder, language).run()
        finally:
            window.close_unasked()


def _few_colours(picture: QtGui.QImage) -> QtGui.QImage:
    """The same with a palette of 256 colours, the others as the nearest of them: a third of the size."""
    from PySide6 import QtGui

    picture = picture.convertToFormat(QtGui.QImage.Format.Format_RGB32)
    height, width = picture.height(), picture.width()
    pixels = np.frombuffer(picture.constBits(), np.uint32) & 0xFFFFFF
    colours, places, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    palette = _palette(colours, counts)
    wanted = _parts(palette)
    nearest = np.array([np.abs(wanted - part).sum(axis=1).argmin() for part in _parts(colours)], np.uint8)
    indexed = QtGui.QImage(nearest[places].tobytes(), width, height, width, QtGui.QImage.Format.Format_Indexed8)
    indexed.setColorTable([0xFF000000 | int(colour) for colour in palette])
    return indexed.copy()  # the bytes above end with this call


def _palette(colours: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """The most frequent colour of each neighbourhood, the most frequented of those: else greys alone would be kept."""
    by_count = np.argsort(-counts, kind="stable")
    colours, counts = colours[by_count], counts[by_count]
    parts = _parts(colours) >> NEIGHBOURHOOD_BITS
    neighbourhood = parts[:, 0] << 16 | parts[:, 1] << 8 | parts[:, 2]
    _names, first, places = np.unique(neighbourhood, return_index=True, return_inverse=True)
    pixels = np.bincount(places, weights=counts)
    kept: npt.NDArray[np.uint32] = colours[first[np.argsort(-pixels, kind="stable")[:COLOURS]]]
    return kept


def _parts(colours: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Red, green and blue of each colour."""
    return np.stack([colours >> shift & 0xFF for shift in (16, 8, 0)], axis=1).astype(np.int64)


class _Session:
    """Somebody before the window, with a camera."""

    def __init__(
        self, qapp: QtWidgets.QApplication, engine: TraderEngine, window: TraderWindow, folder: Path, language: str
    ) -> None:
        self._qapp = qapp
        self._engine = engine
        self._window = window
        self._panel = window.trading_widget
        self._folder = folder
        self._language = language

    def run(self) -> None:
        """Take every picture. Raises `Refusal` where something does not come in time."""
        self._lay_out()
        for name in GATEWAYS:
            self._dialog(name)
        self._connect()
        self._be_refused()
        self._window.fit_columns()
        self._settle()
        self._shoot(self._window, "window")
        self._shoot(self._panel, "panel")
        self._log()
        self._monitor()
        self._contracts()
        self._strategies()

    # ------------------------------------------------------------------ waiting and taking

    def _until(self, true: Callable[[], object], name: str) -> None:
        """Let Qt work until it is true, which the picture of this name needs. Raises `Refusal`."""
        deadline = time.monotonic() + STEP_DEADLINE_S
        while not true():
            if time.monotonic() > deadline:
                raise Refusal(_("没有等到图片 {} 的内容，请重试").format(name))
            self._work()

    def _settle(self) -> None:
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            self._work()

    def _work(self) -> None:
        from PySide6 import QtCore

        self._qapp.processEvents(QtCore.QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 50)

    def _shoot(self, widget: QtWidgets.QWidget, name: str) -> None:
        """Write what a widget shows now; without a window's frame, in whose title stands a folder."""
        self._settle()
        path = self._folder / f"{name}_{self._language}.png"
        image = _few_colours(widget.grab().toImage())
        # PySide's stub wants bytes, PySide itself wants text.
        if not image.save(str(path), "PNG", 0):  # type: ignore[call-overload]
            raise Refusal(_("图片未能写入：{}").format(path))

    # ------------------------------------------------------------------ the day

    def _lay_out(self) -> None:
        from PySide6 import QtCore, QtWidgets

        self._window.resize(*WINDOW)
        self._window.show()
        area = QtCore.Qt.DockWidgetArea.BottomDockWidgetArea
        docks = cast("list[QtWidgets.QDockWidget]", self._window.findChildren(QtWidgets.QDockWidget))
        below = [dock for dock in docks if self._window.dockWidgetArea(dock) == area]
        self._window.resizeDocks(below, [TABLES_BELOW] * len(below), QtCore.Qt.Orientation.Vertical)

    def _dialog(self, name: str) -> None:
        from .connect_dialog import PrivateConnectDialog

        dialog = PrivateConnectDialog(self._engine, name)
        dialog.show()
        self._shoot(dialog, f"connect_{name.lower()}")
        dialog.close()

    def _connect(self) -> None:
        """Connect both and do what the demo does: buy, sell, an order that rests, the example strategy."""
        from vnpy_ctastrategy.base import APP_NAME
        from vnpy_ctastrategy.engine import CtaEngine
        from vnpy_ctastrategy.ui.widget import CtaManager

        from .demo import SOURCE, DemoScript, start_demo
        from .demo_strategy import NAME

        engine = self._engine
        start_demo(engine)
        # Now: the page shows the lines that come while it is there. Not earlier: it loads the strategies' classes.
        self._window.open_widget(CtaManager, APP_NAME)
        engine.connect_all({name: demo_setting(name, engine.get_default_setting(name) or {}, {}) for name in GATEWAYS})
        script, cta = engine.get_engine(SOURCE), engine.get_engine(APP_NAME)
        assert isinstance(script, DemoScript)
        assert isinstance(cta, CtaEngine)
        self._until(script.finished.is_set, "window")
        self._until(lambda: cta.strategies[NAME].trading, "cta")

    def _be_refused(self) -> None:
        """Look for a symbol that is not there, and sell a part of a lot."""
        from vnpy.trader.constant import Exchange, Status
        from vnpy.trader.event import EVENT_LOG

        missing: list[str] = []
        self._engine.event_engine.register(
            EVENT_LOG, lambda event: missing.append(event.data.msg) if UNKNOWN_SYMBOL in event.data.msg else None
        )
        self._type(UNKNOWN_SYMBOL, Exchange.SMART)
        self._until(lambda: missing, "log")
        self._type("700", Exchange.SEHK)
        self._until(self._panel.bp5_label.text, "panel")
        self._panel.volume_line.setText("150")
        self._panel.price_line.setText(self._panel.ap1_label.text())
        self._panel.send_order()
        orders = self._engine.get_all_orders
        self._until(lambda: Status.REJECTED in {order.status for order in orders()}, "window")

    def _type(self, symbol: str, exchange: object) -> None:
        self._panel.exchange_combo.setCurrentText(str(getattr(exchange, "value", exchange)))
        self._panel.symbol_line.setText(symbol)
        self._panel.set_vt_symbol()

    def _log(self) -> None:
        """The log's dock, wide enough for its lines."""
        from PySide6 import QtWidgets
        from vnpy.trader.ui.widget import LogMonitor

        [monitor] = [one for one in self._window.monitors.values() if isinstance(one, LogMonitor)]
        dock = monitor.parentWidget()
        assert isinstance(dock, QtWidgets.QDockWidget)  # vn.py puts every table into one
        dock.setFloating(True)
        dock.resize(*LOG)
        monitor.resize_columns()
        self._shoot(dock, "log")
        dock.setFloating(False)

    def _monitor(self) -> None:
        from .monitor import APP_NAME
        from .monitor.ui import MonitorWidget

        self._window.open_widget(MonitorWidget, APP_NAME)
        page = self._window.widgets[APP_NAME]
        assert isinstance(page, MonitorWidget)
        page.resize(*PAGE)
        gateways = [self._engine.gateways[name] for name in GATEWAYS]
        self._until(lambda: all(gateway.latencies.points() for gateway in gateways), "monitor")  # type: ignore[attr-defined]
        self._until(lambda: page.journal.table.model.rows, "monitor")
        self._shoot(page, "monitor")
        name = next(iter(GATEWAYS))
        page.cards[name].stop_button.click()
        self._shoot(page.cards[name], "kill_switch")
        self._engine.gateways[name].stop_orders(False)  # type: ignore[attr-defined] # of our gateways
        page.close()

    def _contracts(self) -> None:
        from .contract_finder import ContractFinder

        self._window.open_widget(ContractFinder, "contract")
        page = self._window.widgets["contract"]
        assert isinstance(page, ContractFinder)
        page.resize(*CONTRACTS)
        page.button_show.click()
        self._shoot(page, "contracts")
        page.close()

    def _strategies(self) -> None:
        from vnpy_ctastrategy.base import APP_NAME

        page = self._window.widgets[APP_NAME]
        page.showNormal()  # vn.py opens it maximised
        page.resize(*PAGE)
        self._shoot(page, "cta")
        page.close()


if __name__ == "__main__":
    raise SystemExit(main())
