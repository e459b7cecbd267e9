"""Which fills each strategy has counted, in the order of counting: one SQLite file in vn.py's folder.

A fill is counted under the next number of its strategy; the strategy's saved data holds the number that it includes.
What stands here beyond that number was not saved with a position, and is taken back (:meth:`CountedFills.after`).
An order is named by its local id, which no other run and no other broker gives out again (design, section 4), so the
simulated brokers' fills can't be taken for real ones.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from vnpy_brokerkit.journal import RETENTION
from vnpy_brokerkit.journal_rows import iso

KEPT = RETENTION + timedelta(days=10)
"""As long as the journals tell fills one by one, and a little longer."""
BUSY_WAIT_S = 5.0

_TABLES = (
    "CREATE TABLE IF NOT EXISTS counted (strategy TEXT NOT NULL, vt_orderid TEXT NOT NULL, tradeid TEXT NOT NULL, "
    "number INTEGER NOT NULL, volume TEXT NOT NULL, time TEXT NOT NULL, "
    "PRIMARY KEY (strategy, vt_orderid, tradeid)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS taken (strategy TEXT NOT NULL, since TEXT NOT NULL, journal TEXT NOT NULL, "
    "PRIMARY KEY (strategy, since, journal)) WITHOUT ROWID",
)


class CountedFills:
    """The file, open. Each call is one commit, on disk when it returns. Every method raises ``sqlite3.Error``."""

    def __init__(self, path: Path, now: datetime) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Calls come from several threads, one at a time: the caller holds its lock.
        self._connection = sqlite3.connect(path, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            for table in _TABLES:
                self._connection.execute(table)
            self._connection.execute("DELETE FROM counted WHERE time < ?", (iso(now - KEPT),))
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file; a second time is harmless."""
        self._connection.close()

    def has(self, strategy: str, vt_orderid: str, tradeid: str) -> bool:
        """Tell whether a strategy has counted a fill."""
        found = self._connection.execute(
            "SELECT 1 FROM counted WHERE strategy = ? AND vt_orderid = ? AND tradeid = ?",
            (strategy, vt_orderid, tradeid),
        )
        return found.fetchone() is not None

    def volume(self, strategy: str, vt_orderid: str) -> Decimal:
        """Return how many shares of an order a strategy has counted."""
        rows = self._connection.execute(
            "SELECT volume FROM counted WHERE strategy = ? AND vt_orderid = ?", (strategy, vt_orderid)
        )
        return sum((Decimal(row[0]) for row in rows), Decimal(0))

    def add(self, strategy: str, number: int, fill: tuple[str, str, Decimal, datetime]) -> None:
        """Count a fill (vt_orderid, tradeid, shares, aware time) under a number."""
        vt_orderid, tradeid, volume, time = fill
        self._connection.execute(
            "INSERT OR REPLACE INTO counted (strategy, vt_orderid, tradeid, number, volume, time) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (strategy, vt_orderid, tradeid, number, str(volume), iso(time)),
        )

    def after(self, strategy: str, number: int) -> None:
        """Take back what was counted beyond a number: no saved position includes it."""
        self._connection.execute("DELETE FROM counted WHERE strategy = ? AND number > ?", (strategy, number))

    def forget(self, strategy: str) -> None:
        """A strategy of this name begins anew."""
        for table in ("counted", "taken"):
            self._connection.execute(f"DELETE FROM {table} WHERE strategy = ?", (strategy,))

    def is_taken(self, strategy: str, since: datetime, journal: str) -> bool:
        """Tell whether the fills that a journal held when the strategy was taken over were counted."""
        found = self._connection.execute(
            "SELECT 1 FROM taken WHERE strategy = ? AND since = ? AND journal = ?", (strategy, iso(since), journal)
        )
        return found.fetchone() is not None

    def take(
        self, strategy: str, number: int, since: datetime, journal: str, fills: list[tuple[str, str, Decimal, datetime]]
    ) -> None:
        """Count, under one number, the fills that a journal held when the strategy was taken over."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for fill in fills:
                self.add(strategy, number, fill)
            self._connection.execute("INSERT INTO taken VALUES (?, ?, ?)", (strategy, iso(since), journal))
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
