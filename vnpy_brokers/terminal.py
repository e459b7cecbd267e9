"""The terminal in place of the window: a live table on a screen, plain lines into a file or pipe."""

from __future__ import annotations

import io
import threading
from collections import deque
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from vnpy.event import Event
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG
from vnpy.trader.object import LogData

from vnpy_brokerkit.i18n import _

from .console import LineWriter
from .settings import DEMO_MARK
from .sheets import SHEETS, Row, Sheet
from .stopping import StopRequest

REFRESH_S = 0.5
PLAIN_LINES_EVERY_S = 1.0
LOG_LINES_SHOWN = 6
LOG_LINES_KEPT = 1000


class RecentLogs:
    """vn.py's log lines since they were last taken; filled on the event thread, read on the main one."""

    def __init__(self, main_engine: MainEngine) -> None:
        self._lines: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self._lock = threading.Lock()
        main_engine.event_engine.register(EVENT_LOG, self._on_log)

    def _on_log(self, event: Event) -> None:
        log: LogData = event.data
        with self._lock:
            self._lines.append(f"{log.time:%H:%M:%S} {log.gateway_name} {log.msg}")

    def last(self, count: int) -> list[str]:
        """The newest lines, oldest first; they stay."""
        with self._lock:
            return list(self._lines)[-count:]

    def take(self) -> list[str]:
        """All lines, oldest first; they are gone then."""
        with self._lock:
            lines = list(self._lines)
            self._lines.clear()
            return lines


class LiveTable:
    """The screen: every sheet as a table, redrawn in place."""

    def __init__(self, main_engine: MainEngine, logs: RecentLogs, title: str) -> None:
        self._main_engine = main_engine
        self._logs = logs
        self._title = title

    def run(self, stdout: io.FileIO, stop: StopRequest) -> None:
        """Redraw until `stop` is requested. Blocks."""
        file = io.TextIOWrapper(io.BufferedWriter(stdout), encoding="utf-8", errors="backslashreplace")
        try:
            with Live(self.picture(), console=Console(file=file), auto_refresh=False) as live:
                while not stop.wait(REFRESH_S):
                    live.update(self.picture(), refresh=True)
        finally:
            file.detach().detach()  # the descriptor belongs to the caller

    def picture(self) -> RenderableType:
        """Everything as it is now. A screen that is too low loses the end, so the log lines stand first."""
        parts: list[RenderableType] = [Rule(self._title)]
        parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in self._logs.last(LOG_LINES_SHOWN)]
        for sheet in SHEETS:
            rows = sheet.rows(self._main_engine)
            if rows:
                parts += [Rule(sheet.title, align="left", style="dim"), self._table(sheet, rows)]
        return Group(*parts)

    def _table(self, sheet: Sheet, rows: Sequence[Row]) -> RenderableType:
        table = Table(box=None, expand=True)
        for column in sheet.columns:
            table.add_column(column, no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row.cells))
        return table


class PlainLines:
    """The same without a screen: a line for each row that changed, once a second at most."""

    def __init__(self, main_engine: MainEngine, logs: RecentLogs, title: str) -> None:
        self._main_engine = main_engine
        self._logs = logs
        self._title = title
        self._shown: dict[tuple[str, str], tuple[str, ...]] = {}

    def run(self, stdout: io.FileIO, stop: StopRequest) -> None:
        """Write until `stop` is requested or the reader goes away. Blocks."""
        writer = LineWriter(stdout, stop.request)
        writer.write(self._title)
        while not stop.wait(PLAIN_LINES_EVERY_S):
            for line in self.changes():
                writer.write(line)
        for line in self.changes():
            writer.write(line)
        writer.close()

    def changes(self) -> Iterator[str]:
        """The lines for what changed since the last call."""
        yield from self._logs.take()
        for sheet in SHEETS:
            for row in sheet.rows(self._main_engine):
                if self._shown.get((sheet.title, row.key)) != row.cells:
                    self._shown[sheet.title, row.key] = row.cells
                    named = (f"{name}={cell}" for name, cell in zip(sheet.columns, row.cells, strict=True))
                    yield f"{sheet.title} {' '.join(named)}"


def terminal(main_engine: MainEngine, stdout: io.FileIO, *, demo: bool) -> LiveTable | PlainLines:
    """What fits `stdout`. Make it before the gateways connect, so that it has every log line."""
    title = _("VN Trader 终端，Ctrl-C 退出")
    if demo:
        title = f"{DEMO_MARK}{title}"
    kind = LiveTable if stdout.isatty() else PlainLines
    return kind(main_engine, RecentLogs(main_engine), title)
