"""The order journal by itself: what is on disk when, what comes back, and what a bad disk does to it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType

from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.errors import JournalError
from vnpy_brokerkit.journal import RETENTION, Journal
from vnpy_brokerkit.journal_rows import STATE2STEP, Entry, Step, entry_of, iso, order_values, step_of
from vnpy_brokerkit.journal_schema import MIGRATIONS
from vnpy_brokerkit.lifecycle import Happening, State, move
from vnpy_brokerkit.tracker import Fill, TrackedOrder

START = datetime(2026, 3, 10, 15, 0, tzinfo=timezone.utc)
ACCOUNT = "DU1"


class Desk:
    """A journal on a file, with what it said."""

    def __init__(self, path: Path, at: datetime = START) -> None:
        self.lines: list[str] = []
        self.journal = Journal(path, ACCOUNT, clock=ManualClock(at), log=self.lines.append)


def on(path: Path, scene: Callable[[Desk, list[Entry]], Awaitable[None]], at: datetime = START) -> Desk:
    """Open, play, close."""

    async def run() -> Desk:
        desk = Desk(path, at)
        entries = await desk.journal.open()
        try:
            await scene(desk, entries)
        finally:
            await desk.journal.close()
        return desk

    return asyncio.run(run())


def reopened(path: Path, at: datetime = START) -> list[Entry]:
    """What a new process finds."""
    found: list[Entry] = []

    async def look(desk: Desk, entries: list[Entry]) -> None:
        found.extend(entries)

    on(path, look, at)
    return found


def order(orderid: str = "VBa-1", **changes: object) -> TrackedOrder:
    made = TrackedOrder(
        orderid=orderid,
        symbol="00700",
        exchange=Exchange.SEHK,
        direction=Direction.LONG,
        offset=Offset.NONE,
        type=OrderType.LIMIT,
        price=Decimal("300.2"),
        volume=Decimal(200),
        reference="策略一",
        time=START,
    )
    for name, value in changes.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def fill(tradeid: str, volume: int, at: datetime = START) -> Fill:
    return Fill(tradeid, Decimal(volume), Decimal("300.2"), Decimal(0), Decimal(volume), at, {})


def modes(folder: Path) -> list[int]:
    return [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()]


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_an_intended_order_is_on_disk_when_intend_returns(tmp_path: Path) -> None:
    """A copy of the files at that instant, as a kill would leave them, holds it."""
    path, copy = tmp_path / "j.db", tmp_path / "copy.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        assert entries == []
        await desk.journal.intend(order())
        for end in ("", "-wal"):
            (tmp_path / f"copy.db{end}").write_bytes((tmp_path / f"j.db{end}").read_bytes())

    on(path, scene)
    [entry] = reopened(copy)
    assert (entry.step, entry.order.state) == (Step.INTENDED, State.UNKNOWN)
    assert order_values(entry.order, ACCOUNT)[:10] == order_values(order(), ACCOUNT)[:10]
    assert (entry.order.reference, entry.order.left, entry.order.shown) == ("策略一", True, False)


def test_the_file_is_durable_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())
        connection = desk.journal._connection
        assert connection is not None
        answers = await desk.journal._call(
            lambda: [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
        )
        assert answers == ["wal", 2]
        if sys.platform != "win32":
            assert all(mode == 0o600 for mode in modes(tmp_path)), modes(tmp_path)

    on(path, scene)


@pytest.mark.skipif(sys.platform == "win32", reason="there the folder's rights are the user's")
def test_a_file_that_was_copied_here_is_its_owners_alone_too(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    reopened(path)
    path.chmod(0o644)

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())
        assert set(modes(tmp_path)) == {0o600}

    on(path, scene)


def test_a_file_whose_rights_can_not_be_changed_is_a_line_and_no_reason_not_to_trade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's that may be written, or a disk that knows no owners."""

    def refuse(path: object, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())
        assert any("仅本人可读" in line for line in desk.lines), desk.lines

    monkeypatch.setattr(os, "chmod", refuse)
    on(tmp_path / "j.db", scene)


def test_each_step_is_kept_and_only_news_is_written(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    steps = [
        (Happening.SENT, Step.SENT),
        (Happening.LOST, Step.UNKNOWN),
        (Happening.ACKNOWLEDGED, Step.ACKNOWLEDGED),
        (Happening.ACCEPTED, Step.ACKNOWLEDGED),
        (Happening.CANCELLED, Step.ENDED),
    ]

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        one = order()
        await desk.journal.intend(one)
        for happening, step in steps:
            one.state = move(one.state, happening)
            if step is Step.ACKNOWLEDGED:
                one.broker_id = "1001"
            for _again in range(3):
                desk.journal.follow(one)
            assert step_of(one) is step

    on(path, scene)
    found = rows(path, "SELECT step, broker_id FROM audit ORDER BY number")
    assert found == [
        ("intended", ""),
        ("sent", ""),
        ("unknown", ""),
        ("acknowledged", "1001"),
        ("acknowledged", "1001"),
        ("ended", "1001"),
    ]
    [entry] = reopened(path)
    assert (entry.order.state, entry.order.broker_id) == (State.CANCELLED, "1001")


def test_refused_attempts_are_in_the_audit_and_do_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        desk.journal.follow(order(state=State.REJECTED, reason="价格不在最小变动价位上"))

    on(path, scene)
    assert rows(path, "SELECT step, decision FROM orders") == [("refused", "价格不在最小变动价位上")]
    assert reopened(path) == []


def test_a_reference_that_no_file_can_hold_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order(reference="half \ud83d of it"))
        assert desk.lines == []

    on(path, scene)
    assert reopened(path)[0].order.reference == "half \\ud83d of it"


def test_a_broker_s_words_that_no_file_can_hold_stop_no_order(tmp_path: Path) -> None:
    """An escaped half of a character in a reason: owed to the disk for ever, it would refuse every later order."""
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())
        desk.journal.follow(order(state=State.REJECTED, left=True, broker_id="10\udc01", reason="half \ud83d of it"))
        desk.journal.fill(order(), fill("half \ud83d of it", 100))
        desk.journal.know_foreign("half \ud83d of it")
        await desk.journal.intend(order("VBa-2"))
        assert desk.lines == []

    on(path, scene)
    assert rows(path, "SELECT step, reason FROM orders ORDER BY orderid") == [
        ("ended", "half \\ud83d of it"),
        ("intended", ""),
    ]


def test_orders_of_others_are_not_in_it_but_known(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        desk.journal.follow(order(external=True, broker_id="7"))
        desk.journal.know_foreign("7")
        desk.journal.know_foreign("7")

    on(path, scene)

    async def again(desk: Desk, entries: list[Entry]) -> None:
        assert entries == []
        assert desk.journal.foreign == {"7"}

    on(path, again)


def test_a_second_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from vnpy_brokerkit.clock import SystemClock; from vnpy_brokerkit.journal import Journal\n"
        "from vnpy_brokerkit.errors import JournalError\n"
        "async def main():\n"
        "    journal = Journal(Path(sys.argv[1]), 'DU1', clock=SystemClock(), log=print)\n"
        "    try: await journal.open()\n"
        "    except JournalError as error: print('refused', error.text)\n"
        "    else: print('opened'); await journal.close()\n"
        "asyncio.run(main())\n"
    )

    def other() -> str:
        done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())
        said = await asyncio.get_running_loop().run_in_executor(None, other)
        assert said.startswith("refused")
        assert "另一个进程" in said
        await desk.journal.intend(order("VBa-2"))

    on(path, scene)
    assert other().startswith("opened")
    assert [entry.order.orderid for entry in reopened(path)] == ["VBa-1", "VBa-2"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(b"this is not a database at all" * 200),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 9000 + path.read_bytes()[13096:]),
        lambda path: (path.unlink(), rows(path, "CREATE TABLE orders (number)")),
    ],
)
def test_a_corrupt_file_is_one_line_and_stays_as_it_is(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        for number in range(50):
            await desk.journal.intend(order(f"VBa-{number}"))

    on(path, scene)
    harm(path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match="移走") as caught:
        on(path, scene)
    assert "\n" not in caught.value.text
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value"), [("price", "'many'"), ("volume", "x'00ff'"), ("time", "7"), ("exchange", "'MARS'")]
)
def test_a_damaged_row_is_one_line_too(tmp_path: Path, column: str, value: str) -> None:
    """The pages may be whole, and what stands on them is not."""
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        await desk.journal.intend(order())

    on(path, scene)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE orders SET {column} = {value}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="移走"):
        reopened(path)
    assert path.read_bytes() == before


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    reopened(path)
    rows(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="99"):
        reopened(path)
    assert rows(path, "PRAGMA user_version") == [(99,)]


def test_an_older_file_is_brought_up_to_date(tmp_path: Path) -> None:
    """What each migration adds is there afterwards, the version says so, and what the file held is kept."""
    path = tmp_path / "j.db"
    connection = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    old = {"orderid": "VBx-1", "account": ACCOUNT, "state": "WORKING", "step": "acknowledged", "time": iso(START)}
    columns = [str(row[1]) for row in connection.execute("PRAGMA table_info(orders)")]
    old |= {"symbol": "IBM", "exchange": "SMART", "direction": "LONG", "offset": "NONE", "type": "LIMIT"}
    old |= {"price": "1", "volume": "2", "traded": "0", "cancel_wanted": "0"}
    values = [old.get(column, "") for column in columns]
    connection.execute(f"INSERT INTO orders VALUES ({', '.join('?' * len(values))})", values)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    reopened(path)
    assert rows(path, "SELECT orderid, state, inferred FROM orders") == [("VBx-1", "WORKING", 0)]
    assert rows(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    tables = {str(name) for (name,) in rows(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"orders", "audit", "fills", "carried", "foreign_orders"} <= tables


def test_a_full_disk_refuses_new_orders_and_forgets_no_news(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        journal = desk.journal
        connection = journal._connection
        assert connection is not None
        working = order()
        await journal.intend(working)
        pages = await journal._call(lambda: connection.execute("PRAGMA page_count").fetchone()[0])
        await journal._call(lambda: connection.execute(f"PRAGMA max_page_count = {pages}"))
        refused = 0
        for number in range(2, 60):
            try:
                await journal.intend(order(f"VBa-{number}", reference="x" * 3000))
            except JournalError:
                refused += 1
        assert refused > 40
        assert len(desk.lines) == 1
        assert "磁盘" in desk.lines[0]
        working.state, working.broker_id = State.WORKING, "1001"
        journal.follow(working)
        await journal._call(lambda: connection.execute("PRAGMA max_page_count = 100000"))
        await journal.intend(order("VBa-99"))
        assert desk.lines[1:] == ["委托日志恢复写入"]
        assert journal.trouble == ""

    on(path, scene)
    found = {entry.order.orderid: entry for entry in reopened(path)}
    assert found["VBa-1"].order.broker_id == "1001"
    assert found["VBa-99"].step is Step.INTENDED
    assert len(found) < 20, "what was refused must not come back as if it might have been sent"


def test_news_that_is_owed_is_written_at_the_end(tmp_path: Path) -> None:
    """A disk that was full for a while, and nothing happened after it."""
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        journal = desk.journal
        connection = journal._connection
        assert connection is not None
        await journal.intend(order())
        await journal._call(lambda: connection.execute("PRAGMA query_only = ON"))
        journal.follow(order(state=State.CANCELLED, broker_id="1001", left=True))
        writer = journal._writer
        assert writer is not None
        await writer
        assert journal.trouble
        await journal._call(lambda: connection.execute("PRAGMA query_only = OFF"))

    on(path, scene)
    [entry] = reopened(path)
    assert (entry.order.state, entry.order.broker_id) == (State.CANCELLED, "1001")


def test_ended_orders_of_long_ago_go_and_their_positions_stay(tmp_path: Path) -> None:
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        journal = desk.journal
        for number, (direction, volume) in enumerate([(Direction.LONG, 300), (Direction.SHORT, 100)]):
            one = order(f"VBa-{number}", direction=direction, state=State.FILLED, left=True, broker_id=str(number))
            journal.follow(one)
            journal.fill(one, fill(f"t{number}", volume))
            journal.fill(one, fill(f"t{number}", volume))
        journal.follow(order("VBa-9", state=State.WORKING, broker_id="9"))

    on(path, scene)
    for later in (START, START + RETENTION + timedelta(days=1), START + 2 * RETENTION):

        async def look(desk: Desk, entries: list[Entry], later: datetime = later) -> None:
            [held] = await desk.journal.positions()
            assert (held.reference, held.vt_symbol, int(held.volume)) == ("策略一", "00700.SEHK", 200)
            assert held.time == START
            assert "VBa-9" in [entry.order.orderid for entry in entries]

        on(path, look, later)
    assert rows(path, "SELECT orderid FROM orders") == [("VBa-9",)]
    assert rows(path, "SELECT count(*) FROM fills") == [(0,)]


def test_an_ended_order_comes_back_while_an_older_one_is_open(tmp_path: Path) -> None:
    """The lists of all the days since then will be read: what is ours in them must be known."""
    path = tmp_path / "j.db"

    async def scene(desk: Desk, entries: list[Entry]) -> None:
        desk.journal.follow(order("VBa-1", state=State.FILLED, left=True, time=START - timedelta(days=20)))
        desk.journal.follow(order("VBa-2", state=State.UNKNOWN, left=True, time=START - timedelta(days=10)))
        desk.journal.follow(order("VBa-3", state=State.FILLED, left=True, time=START - timedelta(days=9)))

    on(path, scene)
    assert [entry.order.orderid for entry in reopened(path)] == ["VBa-2", "VBa-3"]


def test_every_state_has_a_step() -> None:
    assert set(STATE2STEP) == set(State)


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=0, max_value=10**9)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    texts=st.tuples(TEXTS, TEXTS, TEXTS),
    numbers=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    state=st.sampled_from(State),
    type_=st.sampled_from(OrderType),
    side=st.sampled_from([Direction.LONG, Direction.SHORT]),
    wanted=st.booleans(),
)
def test_a_row_comes_back_as_it_went(
    texts: tuple[str, str, str],
    numbers: tuple[Decimal, Decimal, Decimal],
    state: State,
    type_: OrderType,
    side: Direction,
    wanted: bool,
) -> None:
    reference, reason, broker_id = texts
    price, volume, traded = numbers
    one = order(
        reference=reference,
        reason=reason,
        broker_id=broker_id,
        price=price,
        volume=volume,
        traded=traded,
        state=state,
        type=type_,
        direction=side,
        cancel_wanted=wanted,
        left=True,
    )
    values = order_values(one, ACCOUNT)
    back = entry_of((*values, "passed")).order
    expected = list(values)
    if back.state is State.UNKNOWN:
        expected[11:13] = [Step.UNKNOWN.value, State.UNKNOWN.name]
    assert list(order_values(back, ACCOUNT)) == expected
