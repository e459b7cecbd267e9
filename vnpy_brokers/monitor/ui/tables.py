"""The tables of the page: the last reconciliation of each gateway, and the order journal with its search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, overload

from PySide6 import QtCore, QtGui, QtWidgets

from vnpy_brokerkit.async_gateway import AsyncGateway, database_zone
from vnpy_brokerkit.health import Health
from vnpy_brokerkit.i18n import N_, _
from vnpy_brokerkit.journal_reader import JournalRow
from vnpy_brokerkit.tracker import plain_text

from ..words import Marked, order_state, report_rows, standings

DISPLAY, TOOL_TIP = int(QtCore.Qt.ItemDataRole.DisplayRole), int(QtCore.Qt.ItemDataRole.ToolTipRole)
"""Qt asks a thousand times for a screenful, with bare numbers: what it asks is looked up once."""
Row = tuple[str, ...]
Index = QtCore.QModelIndex | QtCore.QPersistentModelIndex

REPORT_HEADINGS = (
    Marked(N_("接口")),
    Marked(N_("时间")),
    Marked(N_("原因")),
    Marked(N_("发现")),
    Marked(N_("合约")),
    Marked(N_("说明")),
    Marked(N_("委托号")),
)
JOURNAL_HEADINGS = (
    Marked(N_("时间")),
    Marked(N_("接口")),
    Marked(N_("合约")),
    Marked(N_("方向")),
    Marked(N_("价格")),
    Marked(N_("数量")),
    Marked(N_("已成交")),
    Marked(N_("状态")),
    Marked(N_("原因")),
    Marked(N_("委托号")),
    Marked(N_("来源")),
    Marked(N_("类型")),
    Marked(N_("券商委托号")),
)
WIDEST = 420
"""Pixels of a column that is not the last."""
FITTED_ROWS = 30
"""Rows that decide how wide a column is: measuring thousands would stall the window, and Qt's own way asks for much
more than the texts.
"""
MARGIN = 24
MOST_ROWS = 5000
"""Entries that the journal's table shows."""
TYPING_MS = 300
POLL_MS = 100
TOGETHER_POLLS = 10
"""So many looks for all answers; then those that are there are shown without the others."""
RENEW_MS = 3000
PENDING_RENEWALS = 5
"""After so many of these a journal that has not answered is asked anew, with the others."""


class RowsModel(QtCore.QAbstractTableModel):
    """Rows of text; only what is seen is asked for, so thousands cost nothing."""

    def __init__(self, headings: Sequence[Marked], parent: QtCore.QObject | None = None) -> None:
        super().__init__(parent)
        self.headings = [_(heading.text) for heading in headings]
        self.rows: Sequence[Row] = []

    def show(self, rows: Sequence[Row]) -> bool:
        """Show these rows; return whether anything changed."""
        if rows == self.rows:
            return False
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()
        return True

    def rowCount(self, parent: Index = QtCore.QModelIndex()) -> int:  # noqa: B008  Qt's own default
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = QtCore.QModelIndex()) -> int:  # noqa: B008  Qt's own default
        return 0 if parent.isValid() else len(self.headings)

    def data(self, index: Index, role: int = DISPLAY) -> Any:
        if role in (DISPLAY, TOOL_TIP):
            return self.rows[index.row()][index.column()]
        return None

    def headerData(self, section: int, orientation: QtCore.Qt.Orientation, role: int = DISPLAY) -> Any:
        if role == DISPLAY and orientation == QtCore.Qt.Orientation.Horizontal:
            return self.headings[section]
        return None


class Table(QtWidgets.QStackedWidget):
    """A table that says in words why it is empty."""

    def __init__(self, headings: Sequence[Marked], parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = RowsModel(headings, self)
        self.view = QtWidgets.QTableView()
        self.view.setModel(self.model)
        self.view.verticalHeader().setVisible(False)
        self.view.setEditTriggers(QtWidgets.QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setAlternatingRowColors(True)
        self.view.setWordWrap(False)
        self.view.horizontalHeader().setStretchLastSection(True)
        self.view.horizontalHeader().setDefaultAlignment(QtCore.Qt.AlignmentFlag.AlignLeft)
        self.empty = QtWidgets.QLabel()
        self.empty.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        self.addWidget(self.view)
        self.addWidget(self.empty)

    def show_rows(self, rows: Sequence[Row], empty: str) -> None:
        """Show these rows, or that text where there are none."""
        self.empty.setText(empty)
        self.setCurrentWidget(self.view if rows else self.empty)
        place = self.view.verticalScrollBar().value()
        self.view.setUpdatesEnabled(False)  # else it is painted before it is laid out, and again after
        if self.model.show(rows):
            self._fit()
            self.view.doItemsLayout()
            self.view.verticalScrollBar().setValue(place)
        self.view.setUpdatesEnabled(True)

    def _fit(self) -> None:
        measure = QtGui.QFontMetrics(self.view.font()).horizontalAdvance
        sample = [self.model.rows[number] for number in range(min(FITTED_ROWS, len(self.model.rows)))]
        for column, heading in enumerate(self.model.headings[:-1]):
            widest = max(map(measure, [heading, *(row[column] for row in sample)]))
            self.view.setColumnWidth(column, min(WIDEST, widest + MARGIN))


class ReportTable(Table):
    """The last reconciliation of each gateway."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(REPORT_HEADINGS, parent)

    def show_health(self, healths: Mapping[str, Health]) -> None:
        """Show the reports of the gateways."""
        rows = [row for name, health in healths.items() if health.report for row in report_rows(name, health.report)]
        self.show_rows(rows, _("还没有对账；连接后自动进行，也可按“立即对账”"))


class _Texts(Sequence[Row]):
    """Entries of the journal as rows of text, made when they are asked for: thousands would stall the window."""

    def __init__(self, found: Sequence[tuple[JournalRow, str]]) -> None:
        self._found = found
        self._made: dict[int, Row] = {}
        self._keys = [(row.orderid, row.step, row.state, row.traded, row.broker_id, row.reason) for row, _name in found]
        """What tells apart two looks at the same entries."""

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return _Texts(self._found[index])
        if index not in self._made:
            self._made[index] = _texts(*self._found[index])
        return self._made[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Texts) and self._keys == other._keys

    __hash__ = None  # type: ignore[assignment]  # it compares by its entries


class JournalView(QtWidgets.QWidget):
    """The order journals of the gateways, newest first, searched in their own threads: the window waits for nothing."""

    def __init__(
        self, gateways: Callable[[], Mapping[str, AsyncGateway]], parent: QtWidgets.QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._gateways = gateways
        self._pending: dict[str, Future[list[JournalRow]]] = {}
        self._found: list[tuple[JournalRow, str]] = []
        self._problems: list[str] = []
        self._looks, self._renewals = 0, 0
        """At the present search: how often answers were looked for, and how often it would have been time to renew."""
        self._searched = ""
        self._seen: object = None
        """What was read last: the text that was searched for, and how far each journal was."""
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_StyledBackground)  # else the splitter shines through
        self.search_line = QtWidgets.QLineEdit()
        self.search_line.setPlaceholderText(_("搜索委托号、合约、来源、状态或原因"))
        self.search_line.setClearButtonEnabled(True)
        self.count_label = QtWidgets.QLabel()
        self.table = Table(JOURNAL_HEADINGS)
        head = QtWidgets.QHBoxLayout()
        head.addWidget(QtWidgets.QLabel(_("委托日志")))
        head.addWidget(self.search_line, 1)
        head.addWidget(self.count_label)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self.table)
        self._typed = self._timer(TYPING_MS, self.renew, once=True)
        self._poll = self._timer(POLL_MS, self._collect)
        self._again = self._timer(RENEW_MS, self._renew_idle)
        self.search_line.textChanged.connect(lambda text: self._typed.start())
        self.table.show_rows([], _("没有打开的委托日志；连接后显示"))

    def start(self) -> None:
        """Read now, and again and again."""
        self._again.start()
        self.renew()

    def stop(self) -> None:
        """Nobody looks: read no more."""
        for timer in (self._typed, self._poll, self._again):
            timer.stop()

    def renew(self) -> None:
        """Ask for the newest entries with the text that is searched for."""
        for future in self._pending.values():
            future.cancel()
        self._searched = text = self.search_line.text().strip()
        self._seen = self._state()
        self._found, self._problems = [], []
        self._looks = self._renewals = 0
        words = standings(text)
        asked = {
            # The column of the gateways is searched as well: their names are in no journal.
            name: gateway.read_journal("" if text.casefold() in name.casefold() else text, MOST_ROWS, words)
            for name, gateway in self._gateways().items()
        }
        self._pending = {name: future for name, future in asked.items() if future is not None}
        if self._pending:
            self._poll.start()
        else:
            self._show([], _("没有打开的委托日志；连接后显示"))

    def _renew_idle(self) -> None:
        self._renewals += 1
        if (not self._pending or self._renewals >= PENDING_RENEWALS) and self._seen != self._state():
            self.renew()

    def _state(self) -> object:
        journals = {name: gateway.journal for name, gateway in self._gateways().items()}
        commits = {name: (id(journal), journal.commits) for name, journal in journals.items() if journal}
        return self.search_line.text().strip(), commits

    def _collect(self) -> None:
        """Take the answers that are there: all at once, unless one keeps the others waiting."""
        self._looks += 1
        there = [name for name, future in self._pending.items() if future.done()]
        for name in there:
            self._take(name, self._pending.pop(name))
        if not self._pending:
            self._poll.stop()
        elif self._looks != TOGETHER_POLLS and not (there and self._looks > TOGETHER_POLLS):
            return
        self._found.sort(key=lambda entry: entry[0].time, reverse=True)
        nothing = _("没有包含“{}”的委托").format(self._searched) if self._searched else _("还没有委托")
        self._show(_Texts(self._found[:MOST_ROWS]), nothing)

    def _take(self, name: str, future: Future[list[JournalRow]]) -> None:
        if future.cancelled():
            return  # the gateway was closed meanwhile
        error = future.exception()
        if error:
            self._problems.append(_("读取{}的委托日志失败：{}").format(name, error))
        else:
            self._found += [(row, name) for row in future.result()]

    def _show(self, rows: Sequence[Row], nothing: str) -> None:
        waiting = [_("{}的委托日志尚未读出").format(name) for name in self._pending]
        lacking = _("；").join([*self._problems, *waiting])
        self.table.show_rows(rows, lacking or nothing)
        text = _("最新{}条") if len(rows) == MOST_ROWS else _("{}条")
        count = text.format(len(rows)) if rows else ""
        self.count_label.setText(_("；").join(filter(None, [lacking if rows else "", count])))

    def _timer(self, interval_ms: int, work: Callable[[], None], *, once: bool = False) -> QtCore.QTimer:
        timer = QtCore.QTimer(self)
        timer.setInterval(interval_ms)
        timer.setSingleShot(once)
        timer.timeout.connect(work)
        return timer


def _texts(row: JournalRow, gateway_name: str) -> Row:
    return (
        f"{row.time.astimezone(database_zone()):%m-%d %H:%M:%S}",
        gateway_name,
        row.vt_symbol,
        row.direction.value,
        _number(row.price),
        _number(row.volume),
        _number(row.traded),
        order_state(row.step, row.state),
        row.reason,
        row.orderid,
        row.reference,
        row.type.value,
        row.broker_id,
    )


def _number(value: Any) -> str:
    return plain_text(value) if value.is_finite() else str(value)
