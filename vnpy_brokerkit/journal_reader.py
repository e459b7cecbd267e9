"""The order journal as a person reads it: newest entries first, searched by a text.

The file is locked while it is open, so it is read through the journal's own thread, in stretches that are short enough
for an order's commit to go in between.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from vnpy.trader.constant import Direction, Exchange, OrderType

from .journal_rows import Step
from .lifecycle import State

if TYPE_CHECKING:
    import sqlite3

    from .journal import Journal

STRETCH = 500
"""Entries that are looked through at a time: some milliseconds."""

COLUMNS = (
    "orderid, symbol, exchange, direction, type, price, volume, traded, reference, time, step, state, broker_id, reason"
)
SEARCHED = ("orderid", "symbol || '.' || exchange", "reference", "step", "state", "broker_id", "reason")
NEWEST_FIRST = "ORDER BY time DESC, rowid DESC"
END = ("~", 0)
"""Sorts after every entry: times begin with a digit."""

Place = tuple[str, int]
Standing = tuple[Step, State]
"""Where an attempt stands: what a page shows as one word."""


@dataclass(frozen=True)
class JournalRow:
    """One attempt at an order. ``price`` in the contract's currency, ``volume`` in its units, ``time`` aware."""

    orderid: str
    symbol: str
    exchange: Exchange
    direction: Direction
    type: OrderType
    price: Decimal
    volume: Decimal
    traded: Decimal
    reference: str
    time: datetime
    step: Step
    state: State
    broker_id: str
    reason: str

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange.value}"


async def newest(journal: Journal, search: str, limit: int, standings: Collection[Standing] = ()) -> list[JournalRow]:
    """Return the newest entries in which the text occurs, at most ``limit``. Raises :class:`JournalError`.

    Searched are ids, symbol, reference, state and reason; capitals of the Latin alphabet count as small letters.
    Entries that stand as one of ``standings`` are found, too: the disk does not know the words that a page shows.
    """
    found: list[JournalRow] = []
    before: Place | None = END
    while before is not None and len(found) < limit:
        rows, before = await journal.read(_Stretch(journal.account, search, standings, before, limit - len(found)))
        found += rows
    return found


@dataclass(frozen=True)
class _Stretch:
    """One stretch of the journal, older than ``before``."""

    account: str
    search: str
    standings: Collection[Standing]
    before: Place
    limit: int

    def __call__(self, connection: sqlite3.Connection) -> tuple[list[JournalRow], Place | None]:
        """Return what is found, and where the next stretch begins; ``None`` at the journal's end."""
        older = "account = ? AND (time, rowid) < (?, ?)"
        edge = connection.execute(
            f"SELECT time, rowid FROM orders WHERE {older} {NEWEST_FIRST} LIMIT 1 OFFSET ?",
            (self.account, *self.before, STRETCH - 1),
        ).fetchone()
        values: list[object] = [self.account, *self.before]
        where = older
        if edge:
            where += " AND (time, rowid) >= (?, ?)"
            values += edge
        if self.search:
            fits = [f"{column} LIKE ? ESCAPE '\\'" for column in SEARCHED]
            fits += ["(step, state) = (?, ?)"] * len(self.standings)
            where += f" AND ({' OR '.join(fits)})"
            values += [_pattern(self.search)] * len(SEARCHED)
            values += [text for step, state in self.standings for text in (step.value, state.name)]
        query = f"SELECT {COLUMNS} FROM orders WHERE {where} {NEWEST_FIRST} LIMIT ?"
        rows = connection.execute(query, (*values, self.limit))
        return [_row(row) for row in rows], edge


def _pattern(search: str) -> str:
    """A text that occurs anywhere; what LIKE takes for more is taken for itself."""
    for special in ("\\", "%", "_"):
        search = search.replace(special, f"\\{special}")
    return f"%{search}%"


def _row(values: tuple[str, ...]) -> JournalRow:
    orderid, symbol, exchange, direction, kind, price, volume, traded = values[:8]
    reference, time, step, state, broker_id, reason = values[8:]
    return JournalRow(
        orderid=orderid,
        symbol=symbol,
        exchange=Exchange[exchange],
        direction=Direction[direction],
        type=OrderType[kind],
        price=Decimal(price),
        volume=Decimal(volume),
        traded=Decimal(traded),
        reference=reference,
        time=datetime.fromisoformat(time),
        step=Step(step),
        state=State[state],
        broker_id=broker_id,
        reason=reason,
    )
