"""The saved data of all strategies and the fills that it includes, kept in step on disk.

Not for several threads at once: the CTA engine holds its lock around each call.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.files import write_private
from vnpy_brokerkit.i18n import _

from .counted_fills import CountedFills
from .strategy_records import KEY, Record, read_record, written

T = TypeVar("T")
FILLS_FILE = "cta_counted_fills.db"


@dataclass(frozen=True)
class CountedFill:
    """A fill as it is counted: ``volume`` in shares, ``time`` aware."""

    vt_orderid: str
    tradeid: str
    volume: Decimal
    time: datetime

    def row(self) -> tuple[str, str, Decimal, datetime]:
        return self.vt_orderid, self.tradeid, self.volume, self.time


class StrategyBooks:
    """vn.py's saved data with our records in it, and the counted fills beside it.

    ``data`` is the CTA engine's own dictionary of entries, ``path`` its file; ``log`` takes one line when a file can't
    be used. Where the counted fills can't, nothing is adopted, and entries are saved without a record, as by vn.py.
    """

    def __init__(self, data: dict[str, Any], path: Path, clock: Clock, log: Callable[[str], None]) -> None:
        self._data = data
        self._path = path
        self._clock = clock
        self._log = log
        self.records: dict[str, Record] = {}
        self._fills: CountedFills | None = None
        self._failing = False

    @property
    def works(self) -> bool:
        """Whether fills can be told apart; if not, nothing may be adopted."""
        return self._fills is not None

    # ------------------------------------------------------------------ opening and closing

    def open(self) -> None:
        """Read the records, and take back fills that no saved position includes."""
        try:
            self._fills = fills = CountedFills(self._path.with_name(FILLS_FILE), self._clock.now())
            for name, entry in self._data.items():
                record = read_record(entry)
                if record is None:
                    fills.forget(name)
                    record = Record(0, self._clock.now(), new=False)
                fills.after(name, record.counted)
                self.records[name] = record
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
        if any(KEY not in entry for entry in self._data.values()):
            self._write()

    def close(self) -> None:
        """Let go of the file."""
        fills, self._fills = self._fills, None
        if fills:
            fills.close()

    def _give_up(self, error: Exception) -> None:
        self.close()
        self.records.clear()
        self._log(
            _("策略成交记录{}无法使用（{}）：重启后策略的委托与成交不会自动恢复，请检查磁盘空间和权限后重启").format(
                self._path.with_name(FILLS_FILE), error
            )
        )

    # ------------------------------------------------------------------ strategies

    def begin(self, name: str) -> None:
        """A strategy without an entry begins now; one that is known goes on."""
        if self._fills is None or name in self.records:
            return
        try:
            self._fills.forget(name)
        except sqlite3.Error as error:
            self._give_up(error)
            return
        self.records[name] = Record(0, self._clock.now(), new=True)

    def forget(self, name: str) -> None:
        """A strategy is gone, with its entry."""
        self.records.pop(name, None)
        if self._data.pop(name, None) is not None:
            self._write()

    def save(self, name: str, variables: dict[str, Any] | None = None) -> None:
        """Write all entries; this one with these variables, or with those that were saved last."""
        entry = dict(self._data.get(name, {}) if variables is None else variables)
        self._data[name] = entry
        self._write()

    def _write(self) -> None:
        """Replace the file as a whole. What can't be written is one line; it is tried again with the next change."""
        for name, entry in self._data.items():
            entry.pop(KEY, None)
            if name in self.records:
                entry[KEY] = written(self.records[name])
        try:
            write_private(self._path, json.dumps(self._data, indent=4, ensure_ascii=False).encode())
        except (OSError, TypeError, ValueError) as error:
            if not self._failing:
                self._log(_("策略数据{}无法保存：{}").format(self._path, error))
            self._failing = True
        else:
            self._failing = False

    # ------------------------------------------------------------------ fills

    def has(self, name: str, vt_orderid: str, tradeid: str) -> bool:
        """Tell whether a strategy's position includes a fill."""
        return self._ask(lambda fills: fills.has(name, vt_orderid, tradeid), False)

    def volume(self, name: str, vt_orderid: str) -> Decimal:
        """Return how many shares of an order a strategy's position includes."""
        return self._ask(lambda fills: fills.volume(name, vt_orderid), Decimal(0))

    def count(self, name: str, fill: CountedFill, variables: dict[str, Any]) -> None:
        """Save that a strategy's position and variables include one fill more."""
        record = self.records.get(name)
        if record is not None and self._fills is not None:
            try:
                self._fills.add(name, record.counted + 1, fill.row())
                record.counted += 1
            except sqlite3.Error as error:
                self._give_up(error)
        self.save(name, variables)

    def take_over(self, name: str, journal: str, fills: list[CountedFill]) -> bool:
        """Count what a journal holds of a strategy that vn.py alone has kept; True where that was done by now."""
        record = self.records.get(name)
        if self._fills is None or record is None:
            return False
        try:
            if self._fills.is_taken(name, record.since, journal):
                return False
            self._fills.take(name, record.counted, record.since, journal, [fill.row() for fill in fills])
        except sqlite3.Error as error:
            self._give_up(error)
            return False
        return True

    def _ask(self, question: Callable[[CountedFills], T], otherwise: T) -> T:
        if self._fills is None:
            return otherwise
        try:
            return question(self._fills)
        except sqlite3.Error as error:
            self._give_up(error)
            return otherwise
