"""The write-ahead order journal: what may have been sent is on disk before it is sent (design, section 4, "Journal").

One SQLite file per gateway and environment in vn.py's folder, readable by its owner alone; write-ahead log, fully
synchronous, so that a commit survives a power cut. It is locked while it is open: a second process with the same
gateway is told so and sends no orders. It holds every attempt, refused ones too, each step of it, the fills of our own
orders, and the broker's numbers of orders that are known not to be ours. No password, key or cipher text is ever in it.

Everything here runs in the gateway's loop thread, the SQL in one thread of the journal's own. What is written while a
commit is under way goes out together with the next one; :meth:`Journal.intend` returns after its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from vnpy.trader.constant import Direction

from .clock import Clock
from .errors import JournalError
from .i18n import _
from .journal_rows import (
    EARLIER_COLUMNS,
    ORDER_COLUMNS,
    EarlierFill,
    Entry,
    RunningPosition,
    Step,
    clean,
    earlier_fill,
    entry_of,
    iso,
    order_values,
    step_of,
    told_fill,
)
from .journal_schema import NewerSchema, prune, upgrade
from .tracker import Fill, TrackedOrder, plain_text

RETENTION = timedelta(days=90)
"""Ended orders are kept this long; then their fills are folded into the running positions."""
LISTED = timedelta(days=3)
"""How far back the broker's lists of the present day may reach."""
BUSY_WAIT_S = 0.2
"""How long another process may hold the file before it counts as taken: one that ends lets go in this time."""
MOST_OWED = 10_000
"""Records that wait for a disk that can be written again; beyond it the oldest news of an order is dropped."""

_UPSERT = (
    f"INSERT INTO orders ({', '.join(ORDER_COLUMNS)}) VALUES ({', '.join('?' * len(ORDER_COLUMNS))}) "
    "ON CONFLICT (orderid) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in ORDER_COLUMNS[1:] if column != "decision")
)
_AUDIT = "INSERT INTO audit (orderid, time, step, state, broker_id, traded, reason) VALUES (?, ?, ?, ?, ?, ?, ?)"
_FILL = "INSERT OR IGNORE INTO fills (orderid, tradeid, volume, price, cumulative, time) VALUES (?, ?, ?, ?, ?, ?)"
_FOREIGN = "INSERT OR IGNORE INTO foreign_orders (account, broker_id, seen) VALUES (?, ?, ?)"

Operation = tuple[str, tuple[object, ...]]
T = TypeVar("T")


@dataclass
class _Batch:
    """What goes out in one commit, and who waits for it."""

    operations: list[Operation]
    waiting: list[asyncio.Future[None]]


class Journal:
    """The journal of one gateway in one environment, of one account.

    ``path``: its file. ``log``: takes one line when writing begins to fail, and one when it works again.
    """

    def __init__(self, path: Path, account: str, *, clock: Clock, log: Callable[[str], None]) -> None:
        self.path = path
        self.account = account
        self._clock = clock
        self._log = log
        self._connection: sqlite3.Connection | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._written: dict[str, int] = {}
        """A hash of what the file holds of each order, so that only news is written."""
        self._next = _Batch([], [])
        self._owed: deque[Operation] = deque(maxlen=MOST_OWED)
        self._writer: asyncio.Task[None] | None = None
        self._unprotected = ""
        """Why the file could not be made its owner's alone."""
        self.commits = 0
        """Grows with each commit: who read before has seen everything if it has not grown. For any thread to read."""
        self.trouble = ""
        """Why nothing can be written at present, or ``""``."""
        self.foreign: set[str] = set()
        """The broker's numbers of orders that are known to have been placed elsewhere."""
        self.earlier: tuple[EarlierFill, ...] = ()
        """Fills, oldest first, of orders with a reference that earlier processes told of. Set by :meth:`open`."""
        self.ended: frozenset[str] = frozenset()
        """Local ids of orders with a reference whose end an earlier process told of. Set by :meth:`open`."""

    # ------------------------------------------------------------------ opening and closing

    async def open(self) -> list[Entry]:
        """Open the file, making it where there is none, and return what a new process must know of it.

        That is every order that has not ended, and those since the oldest of them, or of the last days, that have: the
        broker's lists will show them, and they must be told from orders of others. Raises :class:`JournalError`
        with one line and the remedy: the file is then as it was, and no order may be sent.
        """
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            entries = await self._call(self._open)
        except BaseException:
            await self.close()
            raise
        if self._unprotected:
            self._log(
                _("委托日志{}无法设为仅本人可读（{}）；请检查其所在文件夹的权限").format(self.path, self._unprotected)
            )
        return entries

    async def close(self) -> None:
        """Write what is left and let go of the file. Never raises; safe to be called twice."""
        while self._writer and not self._writer.done():
            await asyncio.wait({self._writer})
        pool, self._pool = self._pool, None
        if pool is None:
            return
        loop = asyncio.get_running_loop()
        owed = list(self._owed)
        self._owed.clear()
        with contextlib.suppress(sqlite3.Error):  # what could not be written was told when it happened
            if owed and self._connection:
                await loop.run_in_executor(pool, self._commit, owed)
        with contextlib.suppress(sqlite3.Error):
            await loop.run_in_executor(pool, self._close)
        await loop.run_in_executor(None, pool.shutdown)

    def _open(self) -> list[Entry]:
        try:
            return self._open_file()
        except NewerSchema as error:
            self._close()
            raise JournalError(
                _("委托日志{}由更新的版本（{}）写成，本版本不能读取；请升级后再交易").format(self.path, error.version)
            ) from None
        except sqlite3.OperationalError as error:
            self._close()
            if _is_taken(error):
                raise JournalError(
                    _("委托日志{}正被另一个进程使用，本进程不能下单；请关闭另一个程序后重新连接").format(self.path)
                ) from None
            raise JournalError(_unreadable(self.path, error)) from None
        except Exception as error:  # noqa: BLE001  a damaged file may hold anything; whatever it is, no order is sent
            self._close()
            raise JournalError(_unreadable(self.path, error)) from None

    def _open_file(self) -> list[Entry]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Owner-only from its first moment; SQLite gives its side files the same rights.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        try:
            os.chmod(self.path, 0o600)  # one that was copied here may be anybody's
        except OSError as error:  # another user's, or the disk knows no owners: no reason not to trade
            self._unprotected = error.strerror or type(error).__name__
        self._connection = connection = sqlite3.connect(
            self.path, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")  # takes the lock now, and keeps it
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            upgrade(connection)
            now = self._clock.now()
            prune(connection, now - RETENTION)
            entries = self._take_up(connection, now)
        except BaseException:
            connection.rollback()  # what can't be understood stays as it was
            raise
        connection.commit()
        connection.execute("PRAGMA journal_mode = WAL")  # it writes to the file: not before that is known to be sound
        return entries

    def _take_up(self, connection: sqlite3.Connection, now: datetime) -> list[Entry]:
        """Read what a new process must know."""
        working = f"account = ? AND step NOT IN ('{Step.ENDED.value}', '{Step.REFUSED.value}')"
        oldest = connection.execute(f"SELECT min(time) FROM orders WHERE {working}", (self.account,)).fetchone()[0]
        since = min(oldest or "9", iso(now - LISTED))
        rows = connection.execute(
            f"SELECT {', '.join(ORDER_COLUMNS)} FROM orders "
            "WHERE account = ? AND time >= ? AND step != ? ORDER BY time, orderid",
            (self.account, since, Step.REFUSED.value),
        ).fetchall()
        known = connection.execute("SELECT broker_id FROM foreign_orders WHERE account = ?", (self.account,))
        self.foreign = {str(row[0]) for row in known}
        self._look_back(connection)
        entries = {str(row[0]): entry_of(row) for row in rows}
        fills = connection.execute(
            "SELECT f.orderid, f.volume, f.price, f.cumulative, f.time FROM fills f "
            "JOIN orders o ON o.orderid = f.orderid WHERE o.account = ? AND o.time >= ? ORDER BY f.time",
            (self.account, since),
        )
        for orderid, *fill in fills:
            if orderid in entries:
                entries[orderid].fills.append(told_fill(fill))
        return list(entries.values())

    def _look_back(self, connection: sqlite3.Connection) -> None:
        """Keep what strategies were told: read before this process adds to it."""
        fills = connection.execute(
            f"SELECT {EARLIER_COLUMNS} FROM fills f JOIN orders o ON o.orderid = f.orderid "
            "WHERE o.account = ? AND o.reference != '' ORDER BY f.time, o.time",
            (self.account,),
        )
        self.earlier = tuple(map(earlier_fill, fills))
        ended = connection.execute(
            "SELECT orderid FROM orders WHERE account = ? AND reference != '' AND step IN (?, ?)",
            (self.account, Step.ENDED.value, Step.REFUSED.value),
        )
        self.ended = frozenset(str(row[0]) for row in ended)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.close()

    # ------------------------------------------------------------------ writing

    async def intend(self, order: TrackedOrder) -> None:
        """Put an order that is about to be sent on disk. Raises :class:`JournalError`: it must not be sent then."""
        if self._pool is None:
            raise JournalError(_("委托日志未打开"))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next.waiting.append(done)
        self._put(order, "passed")
        try:
            await done
        except JournalError:
            # What never reached the disk must not get there later, as if it might have been sent.
            self._written.pop(order.orderid, None)
            raise

    def follow(self, order: TrackedOrder) -> None:
        """Write down where an order of ours stands, if that is news; returns at once."""
        if self._pool is None or order.external:
            return
        if self._written.get(order.orderid) != hash(order_values(order, self.account)):
            self._put(order, order.reason if step_of(order) is Step.REFUSED else "")

    def fill(self, order: TrackedOrder, fill: Fill) -> None:
        """Write down a fill of an order of ours; returns at once. The same one again changes nothing."""
        if self._pool and not order.external:
            numbers = (plain_text(fill.volume), plain_text(fill.price), plain_text(fill.high))
            values = (order.orderid, fill.tradeid, *numbers, iso(fill.time))
            self._add((_FILL, values))

    def know_foreign(self, broker_id: str) -> None:
        """Write down that an order at the broker is none of ours; returns at once."""
        if self._pool and broker_id not in self.foreign:
            self.foreign.add(broker_id)
            self._add((_FOREIGN, (self.account, broker_id, iso(self._clock.now()))))

    def _put(self, order: TrackedOrder, decision: str) -> None:
        values = order_values(order, self.account)
        step = step_of(order)
        reason = order.reason
        audit = (order.orderid, iso(self._clock.now()), step.value, order.state.name, order.broker_id)
        self._written[order.orderid] = hash(values)
        self._add(
            (_UPSERT, (*values, decision)),
            (_AUDIT, (*audit, plain_text(order.traded), reason)),
        )

    def _add(self, *operations: Operation) -> None:
        # One text that no file can hold would be owed for ever, and every order after it refused.
        self._next.operations += ((sql, tuple(map(clean, values))) for sql, values in operations)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        pool = self._pool
        while self._next.operations and pool:
            batch, self._next = self._next, _Batch([], [])
            owed = list(self._owed)
            try:
                work = asyncio.get_running_loop().run_in_executor(pool, self._commit, [*owed, *batch.operations])
                await asyncio.shield(work)
            except Exception as error:  # noqa: BLE001  whatever it is, it is told, and nobody waits for ever
                self._fail(batch, error)
            else:
                self._owed.clear()
                self.commits += 1
                if self.trouble:
                    self.trouble = ""
                    self._log(_("委托日志恢复写入"))
                for done in batch.waiting:
                    if not done.done():
                        done.set_result(None)

    def _commit(self, operations: Sequence[Operation]) -> None:
        """One transaction, in the journal's thread."""
        connection = self._connection
        if connection is None:
            raise sqlite3.ProgrammingError("closed")
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in operations:
                connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _fail(self, batch: _Batch, error: Exception) -> None:
        """News is owed to the disk and tried again with the next; who is about to send is refused."""
        first = not self.trouble
        self.trouble = _("委托日志{}无法写入（{}）：停止新委托，行情和撤单继续；请检查磁盘空间和权限").format(
            self.path, error
        )
        if first:
            self._log(self.trouble)
        intended = len(batch.waiting)
        if not intended:
            self._owed.extend(batch.operations)
        else:
            refused = {str(values[0]) for sql, values in batch.operations if sql == _UPSERT and values[-1] == "passed"}
            self._owed.extend((sql, values) for sql, values in batch.operations if str(values[0]) not in refused)
        for done in batch.waiting:
            if not done.done():
                done.set_exception(JournalError(self.trouble))

    # ------------------------------------------------------------------ reading

    async def positions(self) -> list[RunningPosition]:
        """Return what each strategy reference holds by the fills of its own orders, pruned ones included."""
        return await self._call(self._positions)

    async def sent_since(self, start: datetime) -> int:
        """Return how many orders were on their way to the broker since an instant (aware)."""

        def count() -> int:
            row = self._need().execute(
                "SELECT count(*) FROM orders WHERE account = ? AND step != ? AND time >= ?",
                (self.account, Step.REFUSED.value, iso(start)),
            )
            return int(row.fetchone()[0])

        return await self._call(count)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run a short query of somebody else after what was written before; it must change nothing."""
        return await self._call(lambda: query(self._need()))

    def _positions(self) -> list[RunningPosition]:
        total: dict[tuple[str, str], tuple[Decimal, str]] = {}
        carried = self._need().execute(
            "SELECT reference, vt_symbol, volume, time FROM carried WHERE account = ?", (self.account,)
        )
        for reference, vt_symbol, volume, time in carried:
            total[reference, vt_symbol] = Decimal(volume), time
        fills = self._need().execute(
            "SELECT o.reference, o.symbol, o.exchange, o.direction, f.volume, f.time FROM fills f "
            "JOIN orders o ON o.orderid = f.orderid WHERE o.account = ? ORDER BY f.time",
            (self.account,),
        )
        for reference, symbol, exchange, direction, volume, time in fills:
            key = (reference, f"{symbol}.{exchange}")
            signed = Decimal(volume) * (1 if direction == Direction.LONG.name else -1)
            before, last = total.get(key, (Decimal(0), ""))
            total[key] = before + signed, max(last, time)
        return [
            RunningPosition(reference, vt_symbol, volume, datetime.fromisoformat(time))
            for (reference, vt_symbol), (volume, time) in total.items()
        ]

    def _need(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("closed")
        return self._connection

    async def _call(self, work: Callable[[], T]) -> T:
        """Run something in the journal's thread, after what was written before."""
        if self._pool is None:
            raise JournalError(_("委托日志未打开"))
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _is_taken(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error)  # Python 3.10 has no sqlite_errorcode


def _unreadable(path: Path, error: Exception) -> str:
    told = str(error) if isinstance(error, sqlite3.Error | OSError) else f"damaged row: {error!r}"
    words = " ".join(told.split())
    return _("委托日志{}无法打开或已损坏（{}）：不能下单，行情和撤单继续；请备份并移走该文件后重新连接").format(
        path, words
    )
