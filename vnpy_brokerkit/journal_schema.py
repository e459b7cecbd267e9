"""The journal's tables, their migrations, and the pruning of what has ended long ago."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from decimal import Decimal

from vnpy.trader.constant import Direction

from .journal_rows import Step, iso
from .tracker import plain_text

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE orders (orderid TEXT PRIMARY KEY, account TEXT NOT NULL, symbol TEXT NOT NULL, "
        "exchange TEXT NOT NULL, direction TEXT NOT NULL, offset TEXT NOT NULL, type TEXT NOT NULL, "
        "price TEXT NOT NULL, volume TEXT NOT NULL, reference TEXT NOT NULL, time TEXT NOT NULL, step TEXT NOT NULL, "
        "state TEXT NOT NULL, broker_id TEXT NOT NULL, traded TEXT NOT NULL, reason TEXT NOT NULL, "
        "cancel_wanted INTEGER NOT NULL, decision TEXT NOT NULL)",
        "CREATE INDEX orders_by_time ON orders (account, time)",
        "CREATE TABLE audit (number INTEGER PRIMARY KEY, orderid TEXT NOT NULL, time TEXT NOT NULL, "
        "step TEXT NOT NULL, state TEXT NOT NULL, broker_id TEXT NOT NULL, traded TEXT NOT NULL, reason TEXT NOT NULL)",
        "CREATE INDEX audit_by_order ON audit (orderid)",
        "CREATE TABLE fills (orderid TEXT NOT NULL, tradeid TEXT NOT NULL, volume TEXT NOT NULL, price TEXT NOT NULL, "
        "cumulative TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (orderid, tradeid)) WITHOUT ROWID",
        "CREATE TABLE carried (account TEXT NOT NULL, reference TEXT NOT NULL, vt_symbol TEXT NOT NULL, "
        "volume TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (account, reference, vt_symbol)) WITHOUT ROWID",
        "CREATE TABLE foreign_orders (account TEXT NOT NULL, broker_id TEXT NOT NULL, seen TEXT NOT NULL, "
        "PRIMARY KEY (account, broker_id)) WITHOUT ROWID",
    ),
    # Which orders absence alone has ended: should one turn up in a later process, that is worth an alarm, too.
    ("ALTER TABLE orders ADD COLUMN inferred INTEGER NOT NULL DEFAULT 0",),
)
"""Statements that bring a file from version n to n + 1. A version that was shipped is never changed."""


class NewerSchema(Exception):
    """Raised for a file that a later version of this program has written."""

    def __init__(self, version: int) -> None:
        super().__init__(str(version))
        self.version = version


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring the file to the present version, within the caller's transaction. Raises :class:`NewerSchema`."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise NewerSchema(version)
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def prune(connection: sqlite3.Connection, before: datetime) -> None:
    """Drop what ended before an instant, its fills folded into the running positions of their references."""
    old = "SELECT orderid FROM orders WHERE time < ? AND step IN (?, ?)"
    bounds = (iso(before), Step.ENDED.value, Step.REFUSED.value)
    fills = connection.execute(
        "SELECT o.account, o.reference, o.symbol || '.' || o.exchange, o.direction, f.volume, f.time "
        f"FROM fills f JOIN orders o ON o.orderid = f.orderid WHERE f.orderid IN ({old}) ORDER BY f.time",
        bounds,
    ).fetchall()
    for account, reference, vt_symbol, direction, volume, time in fills:
        key = (account, reference, vt_symbol)
        held = connection.execute(
            "SELECT volume FROM carried WHERE account = ? AND reference = ? AND vt_symbol = ?", key
        ).fetchone()
        signed = Decimal(volume) * (1 if direction == Direction.LONG.name else -1)
        total = plain_text(Decimal(held[0] if held else 0) + signed)
        connection.execute("INSERT OR REPLACE INTO carried VALUES (?, ?, ?, ?, ?)", (*key, total, time))
    for table in ("fills", "audit", "orders"):
        connection.execute(f"DELETE FROM {table} WHERE orderid IN ({old})", bounds)
    connection.execute("DELETE FROM foreign_orders WHERE seen < ?", bounds[:1])
