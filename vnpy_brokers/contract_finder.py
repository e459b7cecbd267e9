"""帮助 / 查询合约: every contract with its name, lot and tick, found by symbol or name, however many there are.

vn.py's table makes a cell object for each value, which stops the window for as long as that takes. Here Qt asks for the
few rows that can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from itertools import islice
from operator import attrgetter
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from vnpy.trader.locale import _ as vnpy_text
from vnpy.trader.object import ContractData
from vnpy.trader.ui.widget import ContractManager

from vnpy_brokerkit.i18n import _

from .prices import quantity_text

SAMPLE_ROWS = 20
"""What the columns' widths are measured by: Qt's own way asks for much more than the texts."""
MARGIN = 24
PART = 4_000
"""Contracts that are looked through at a time: about 2 ms; in between the window answers."""
DISPLAY, ALIGNMENT = int(QtCore.Qt.ItemDataRole.DisplayRole), int(QtCore.Qt.ItemDataRole.TextAlignmentRole)
"""Qt asks a thousand times for a screenful, with bare numbers: what it asks is looked up once."""
CENTRE = QtCore.Qt.AlignmentFlag.AlignCenter
Index = QtCore.QModelIndex | QtCore.QPersistentModelIndex


class _Rows(QtCore.QAbstractTableModel):
    """Contracts as Qt asks for them."""

    def __init__(self, headers: dict[str, str], parent: QtCore.QObject) -> None:
        super().__init__(parent)
        self._names = list(headers)
        self._titles = [f"{title}\n{name}" for name, title in headers.items()]
        self.contracts: list[ContractData] = []

    def show(self, contracts: list[ContractData]) -> None:
        self.beginResetModel()
        self.contracts = contracts
        self.endResetModel()

    def rowCount(self, parent: Index = QtCore.QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        return 0 if parent.isValid() else len(self.contracts)

    def columnCount(self, parent: Index = QtCore.QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        return 0 if parent.isValid() else len(self._names)

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        if role == DISPLAY:
            return _text(getattr(self.contracts[index.row()], self._names[index.column()]))
        return CENTRE if role == ALIGNMENT else None

    def headerData(self, section: int, orientation: QtCore.Qt.Orientation, role: int = DISPLAY) -> Any:
        if role == DISPLAY and orientation == QtCore.Qt.Orientation.Horizontal:
            return self._titles[section]
        return None


class ContractFinder(ContractManager):
    """vn.py's window of contracts, which also finds by name and in any case of letters."""

    def init_ui(self) -> None:
        """Build the search field and the table."""
        self._text, self._total = "", 0
        self._unread: Iterator[ContractData] = iter(())
        self._matches: list[ContractData] = []
        self._next = QtCore.QTimer(self)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._look)
        self.setWindowTitle(vnpy_text("合约查询"))
        self.resize(1000, 600)
        self.filter_line = QtWidgets.QLineEdit()
        self.filter_line.setPlaceholderText(_("输入代码、交易所或名称的一部分，留空则列出所有合约"))
        self.filter_line.returnPressed.connect(self.show_contracts)
        self.button_show = QtWidgets.QPushButton(vnpy_text("查询"))
        self.button_show.clicked.connect(self.show_contracts)
        self._rows = _Rows(self.headers, self)
        self.table = QtWidgets.QTableView()
        self.table.setModel(self._rows)
        self.table.verticalHeader().setVisible(False)
        self.table.setAlternatingRowColors(True)
        self._found = QtWidgets.QLabel()
        search = QtWidgets.QHBoxLayout()
        search.addWidget(self.filter_line)
        search.addWidget(self.button_show)
        whole = QtWidgets.QVBoxLayout(self)
        whole.addLayout(search)
        whole.addWidget(self.table)
        whole.addWidget(self._found)

    def show_contracts(self) -> None:
        """Show the contracts whose symbol, exchange or name holds the text: at once, unless there are very many."""
        contracts = self.main_engine.get_all_contracts()
        self._text = self.filter_line.text().strip().casefold()
        self._total = len(contracts)
        self._unread = iter(contracts)
        self._matches = []
        self._look()

    def _look(self) -> None:
        """Look through the next part; show what was found after the last one."""
        part = list(islice(self._unread, PART))
        text = self._text
        self._matches += [one for one in part if text in f"{one.vt_symbol}\n{one.name}".casefold()] if text else part
        if len(part) == PART:
            self._next.start()
            return
        self._next.stop()  # of a search that this one overtook
        self._matches.sort(key=attrgetter("vt_symbol"))
        self.table.setUpdatesEnabled(False)  # else it is painted before it is laid out, and again after
        self._rows.show(self._matches)
        self._fit_columns()
        self.table.doItemsLayout()
        self.table.setUpdatesEnabled(True)
        if not self._total:
            self._found.setText(_("还没有合约：连接接口后，预加载、持仓、委托和订阅过的合约会出现在这里"))
        else:
            self._found.setText(_("{}个合约，共{}个").format(len(self._matches), self._total))

    def _fit_columns(self) -> None:
        measure = QtGui.QFontMetrics(self.table.font()).horizontalAdvance
        sample = self._rows.contracts[:SAMPLE_ROWS]
        for column, (name, title) in enumerate(self.headers.items()):
            texts = [title, name, *(_text(getattr(contract, name)) for contract in sample)]
            self.table.setColumnWidth(column, max(map(measure, texts)) + MARGIN)


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d")
    if isinstance(value, float):
        return quantity_text(value) if value else ""
    return "" if value in (None, 0) else str(value)
