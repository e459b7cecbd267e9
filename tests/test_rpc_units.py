"""The parts of the distribution that need no socket."""

from __future__ import annotations

import enum
import os
import pickle
import pickletools
import stat
import struct
from copy import copy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OptionType, OrderType, Product, Status
from vnpy.trader.object import (
    AccountData,
    BarData,
    BaseData,
    CancelRequest,
    ContractData,
    HistoryRequest,
    LogData,
    OrderData,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TickData,
    TradeData,
)

from vnpy_brokerkit.errors import CredentialsError, InvalidRequest
from vnpy_brokers.rpc import keys, unreachable
from vnpy_brokers.rpc.addresses import parse_address
from vnpy_brokers.rpc.codec import Codec, encode
from vnpy_brokers.rpc.follower import PATIENCE_S, Follower
from vnpy_brokers.rpc.legacy import _question
from vnpy_brokers.rpc.messages import (
    MOST_REQUEST_BYTES,
    Ask,
    Beacon,
    CancelOrder,
    Doubt,
    History,
    KnowOrders,
    Ping,
    PlaceOrder,
    Query,
    Subscribe,
    read_answer,
    read_request,
    write_request,
)
from vnpy_brokers.rpc.mirror import Mirror
from vnpy_brokers.rpc.outbox import Outbox
from vnpy_brokers.rpc.pickles import MOST_OPCODES, read_pickle
from vnpy_brokers.rpc.sockets import NO_PEER

SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
NAIVE = datetime(2026, 12, 18)  # noqa: DTZ001  vn.py's expiries are
AT = datetime(2026, 3, 2, 22, 30, 1, 123457, SHANGHAI)
CODEC = Codec(SHANGHAI)

texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(
    datetime(1980, 1, 1),  # noqa: DTZ001  hypothesis wants it so
    datetime(2150, 1, 1),  # noqa: DTZ001  as above
    timezones=st.sampled_from([SHANGHAI, NEW_YORK]),
    allow_imaginary=False,
)
extras = st.none() | st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


def same(read: BaseData, data: BaseData) -> bool:
    """Equal, in the reader's zone."""
    return read == data and vars(read) == vars(data) and type(read) is type(data)


# ---------------------------------------------------------------------- data


@given(
    extra=extras,
    at=times,
    name=texts,
    last=numbers,
    exchange=st.sampled_from(list(Exchange)),
    number=st.integers(0, 2**53),
)
@settings(max_examples=200, deadline=None)
def test_a_tick_comes_back_as_it_was(
    extra: Any, at: datetime, name: str, last: float, exchange: Exchange, number: int
) -> None:
    tick = TickData("IBKR", "AAPL", exchange, at, name, last_price=last, volume=3, ask_price_5=last, localtime=at)
    tick.extra = extra
    read_number, read = CODEC.read_tick(CODEC.tick(number, tick))
    # Between zones, Python calls no time equal that a clock shows twice.
    assert (read.datetime.timestamp(), read_number) == (at.timestamp(), number)
    read.localtime = tick.localtime
    shown, read.datetime = read.datetime, at
    assert same(read, tick)
    assert str(shown.tzinfo) == "Asia/Shanghai"


@pytest.mark.parametrize(
    "data",
    [
        OrderData("IBKR", "AAPL", Exchange.SMART, "IB1-1", OrderType.STOP, Direction.SHORT, Offset.CLOSETODAY, 1.5, 100,
                  50, Status.PARTTRADED, AT, "CtaStrategy_海龟"),
        OrderData("IBKR", "AAPL", Exchange.SMART, "IB1-1"),
        TradeData("VBROKERS", "00700", Exchange.SEHK, "VB1-1", "7-100", Direction.LONG, Offset.OPEN, 400.2, 100, AT),
        PositionData("VBROKERS", "00700", Exchange.SEHK, Direction.NET, -100, 0, 400.2, 1.25),
        AccountData("VBROKERS", "VBROKERS-HKD", 5_000_000.0, 1.5),
        ContractData("IBKR", "ES-202612-USD-FUT", Exchange.CME, "标普", Product.FUTURES, 50, 0.25, max_volume=None),
        ContractData("IBKR", "O", Exchange.SMART, "期权", Product.OPTION, 100, 0.01, option_type=OptionType.PUT,
                     option_strike=152.5, option_expiry=NAIVE, option_listed=AT),
    ],
)  # fmt: skip
def test_news_comes_back_as_it_was(data: BaseData) -> None:
    data.extra = {"broker_id": "7", "nested": {"list": [1, "a", None, True, 2.5]}}
    epoch, number, read = CODEC.read_news(CODEC.news(2**47, 12, data))
    assert (epoch, number) == (2**47, 12)
    assert same(read, data)


def test_a_log_line_keeps_its_words_and_level() -> None:
    _epoch, _number, read = CODEC.read_news(CODEC.news(1, 1, LogData("IBKR", "已连接", 40)))
    assert isinstance(read, LogData)
    assert (read.gateway_name, read.msg, read.level) == ("IBKR", "已连接", 40)


def test_times_are_shown_in_the_readers_zone() -> None:
    trade = TradeData("IBKR", "AAPL", Exchange.SMART, "1", "2", datetime=AT)
    _epoch, _number, read = Codec(NEW_YORK).read_news(CODEC.news(1, 1, trade))
    assert isinstance(read, TradeData)
    assert read.datetime == AT
    assert str(read.datetime.tzinfo) == "America/New_York"


def test_enums_travel_by_name_and_so_do_those_in_extra() -> None:
    order = OrderData("IBKR", "AAPL", Exchange.EUREX, "1", direction=Direction.LONG)
    order.extra = {"side": Direction.SHORT, "at": AT, "object": object, "deep": [Status.REJECTED]}
    body = CODEC.news(1, 1, order)
    for word in ("LONG", "EUREX", "SHORT", "REJECTED"):
        assert word.encode() in body
    for value in (Direction.LONG.value, Exchange.EUREX.value.join("\xa3\xa3"), Status.REJECTED.value):
        assert value.encode() not in body
    _epoch, _number, read = CODEC.read_news(body)
    assert read.extra == {"side": "SHORT", "at": AT.isoformat(), "object": str(object), "deep": ["REJECTED"]}


def test_bars_come_back_as_they_were() -> None:
    bars = [
        BarData(
            "IBKR", "AAPL", Exchange.SMART, AT + timedelta(minutes=n), Interval.MINUTE, n, 2.0, 0, 1.5, 2.5, 0.5, 1.0
        )
        for n in range(5)
    ]
    read = CODEC.read_bars(CODEC.bars(bars))
    assert all(same(one, other) for one, other in zip(read, bars, strict=True))
    with pytest.raises(ValueError):
        CODEC.read_bars(encode(("a", "b", "SMART", "MINUTE", [(1.0, *[float("nan")] * 7)])))


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (9, []),
        (-1, []),
        (1, [1, 2]),
        (5, ["IBKR", None, "text"]),
        (5, ["IBKR", {"x": b"bytes"}, "text", 20]),
        (5, ["IBKR", {"x": msgspec.msgpack.Ext(5, b"")}, "text", 20]),
        (5, ["IBKR", {"x": AT}, "text", 20]),
    ],
)
def test_a_row_that_is_none_is_refused(kind: int, row: list[Any]) -> None:
    with pytest.raises(ValueError):
        CODEC.read_news(msgspec.msgpack.encode((1, 1, kind, row)))


def test_an_odd_value_in_a_row_is_refused() -> None:
    number, row = CODEC.row(TradeData("IBKR", "AAPL", Exchange.SMART, "1", "2", datetime=AT))
    for place, value in (
        (3, "NOWHERE"),
        (6, "UP"),
        (10, 1e300),
        (10, "1999-01-01T00:00:00+00:00"),
        (10, "x"),
        (9, "1"),
    ):
        odd = [*row[:place], value, *row[place + 1 :]]
        with pytest.raises(ValueError):
            CODEC.read_news(encode((1, 1, number, odd)))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_bytes_of_a_stranger_are_an_error_and_nothing_else(body: bytes) -> None:
    for read in (CODEC.read_tick, CODEC.read_news, CODEC.read_bars, read_request, read_answer):
        for frame in (body, b"\x01" + body):
            try:
                read(frame)
            except ValueError:
                continue


@pytest.mark.parametrize(
    "seed", [b"\x91", b"\x81\xa1a", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_deep_and_huge_claims_are_refused(seed: bytes) -> None:
    for read in (CODEC.read_tick, CODEC.read_news, CODEC.read_bars, read_request, read_answer):
        with pytest.raises(ValueError):
            read(b"\x01" + seed * (MOST_REQUEST_BYTES // len(seed)))


# ---------------------------------------------------------------------- questions

ASKS: list[Ask] = [
    Ping(),
    PlaceOrder("IBKR", "IB1", 5, 1.5, "AAPL", "SMART", "LONG", "LIMIT", "NONE", 100.0, 1.5, "CtaStrategy_海龟"),
    CancelOrder("IBKR", "IB1", "AAPL", "SMART"),
    KnowOrders("IBKR", [Doubt("IB1", 5, 1.5)]),
    Subscribe("IBKR", [("AAPL", "SMART")]),
    History("IBKR", "AAPL", "SMART", 1.5, None, "MINUTE"),
    Query("IBKR", "account"),
]


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: type(ask).__name__)
def test_a_question_comes_back_as_it_was(ask: Any) -> None:
    request = read_request(write_request(7, ask))
    assert (request.number, request.ask) == (7, ask)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_question_that_was_tampered_with_is_refused_or_another_question(data: st.DataObject) -> None:
    frame = bytearray(write_request(7, data.draw(st.sampled_from(ASKS))))
    for _each in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(1, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = read_request(bytes(frame))
    except ValueError:
        return
    assert type(request.ask) in {type(ask) for ask in ASKS} or type(request.ask).__name__ in ("Poke", "TakeSnapshot")


def test_what_the_server_would_not_read_never_leaves() -> None:
    with pytest.raises(ValueError):
        write_request(1, Subscribe("IBKR", [("A" * 1000, "SMART")]))
    with pytest.raises(ValueError):
        write_request(1, KnowOrders("IBKR", [Doubt("IB1", 5, 1.5)] * 1000))


# ---------------------------------------------------------------------- pickles of vn.py's client


@pytest.mark.parametrize(
    "arguments",
    [
        (SubscribeRequest("AAPL", Exchange.SMART), "IBKR"),
        (OrderRequest("AAPL", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 100, 1.5, Offset.OPEN, "名称"), "IBKR"),
        (CancelRequest("IB1", "AAPL", Exchange.SMART), "IBKR"),
        (HistoryRequest("AAPL", Exchange.SMART, AT, AT.astimezone(timezone.utc), Interval.MINUTE), "IBKR"),
        (HistoryRequest("AAPL", Exchange.SMART, NAIVE), "IBKR"),
        (HistoryRequest("A", Exchange.SMART, AT.astimezone(timezone(timedelta(hours=8)))), "IBKR"),
        ("AAPL.SMART",),
        (),
    ],
)
@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_what_vnpy_sends_is_read(arguments: tuple[Any, ...], protocol: int) -> None:
    name, read, named = read_pickle(pickle.dumps(["any", arguments, {}], protocol))
    assert (name, named) == ("any", {})
    assert read == list(arguments)
    assert list(map(type, read)) == list(map(type, arguments))


class Evil:
    """Pickles as a call of what it is made with."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


def _poke(module: str, name: str, state: object) -> bytes:
    """A pickle that builds ``state`` into what a name stands for."""
    head = b"\x80\x04" + b"c" + f"{module}\n{name}\n".encode()
    return head + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize(
    "hostile",
    [
        pickle.dumps(["subscribe", (Evil(os.system, "true"),), {}]),
        pickle.dumps(Evil(eval, "1")),
        pickle.dumps(Evil(getattr, Exchange, "SMART")),
        pickle.dumps(Evil(bytearray, 10)),
        pickle.dumps(Evil(SHANGHAI.__reduce__()[0], "../../../etc/passwd", True)),
        pickle.dumps(Evil(ZoneInfo.no_cache, "Asia/Shanghai")),
        pickle.dumps(TickData("a", "b", Exchange.SMART, AT)),
        pickle.dumps(enum.Enum),
        _poke("vnpy.trader.constant", "Exchange", {"SMART": 1}),
        _poke("vnpy.trader.object", "OrderRequest", {"symbol": 1}),
        b"\x80\x04cvnpy.trader.constant\nExchange\n\x8c\x05SMART\x85R}\x8c\x07_value_K\x01sb.",
        b"\x80\x04]r" + struct.pack("<I", 2**31 - 1) + b".",
        b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".",
        b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        b"\x80\x04" + b"]" * 60_000 + b"a" * 59_999 + b".",
        b"\x80\x04" + b"(" * 4_000 + b"t" * 4_000 + b".",
        b"I" + b"9" * 60_000 + b"\n.",
        b"",
        b".",
        b"\x80\x04K\x01K\x02.",
        b"\x80\x04K\x01",
        b"(lp0\ng0\na.",
    ],
)
def test_what_vnpy_does_not_send_is_refused(hostile: bytes) -> None:
    before = [(member.name, member.value) for member in Exchange]
    with pytest.raises(ValueError):
        _question(hostile)
    assert [(member.name, member.value) for member in Exchange] == before


def test_a_list_of_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError):
        read_pickle(pickle.dumps(ring))


def test_requests_of_wrong_fields_are_refused() -> None:
    for changes in (
        {"symbol": 5},
        {"exchange": "SMART"},
        {"volume": "1"},
        {"direction": Exchange.SMART},
        {"price": None},
    ):
        request = OrderRequest("AAPL", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 100)
        vars(request).update(changes)
        with pytest.raises(ValueError):
            read_pickle(pickle.dumps(request))


@pytest.mark.parametrize(
    "question",
    [
        ["close", (), {}],
        ["get_tick", (5,), {}],
        ["get_tick", ("a", "b"), {}],
        ["get_tick", ("a",), {"timeout": 1}],
        ["send_order", (SubscribeRequest("AAPL", Exchange.SMART), "IBKR"), {}],
        ["get_tick", ("a",)],
        "get_tick",
        [["get_tick"], (), {}],
    ],
)
def test_a_question_that_is_none_is_refused(question: Any) -> None:
    with pytest.raises(ValueError):
        _question(pickle.dumps(question))


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_pickles_that_were_tampered_with_do_no_harm(data: st.DataObject) -> None:
    whole = pickle.dumps(
        ["send_order", (OrderRequest("A", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 1), "I"), {}]
    )
    frame = bytearray(whole)
    for _each in range(data.draw(st.integers(1, 6))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(
            st.sampled_from([ord(op.code) for op in pickletools.opcodes]) | st.integers(0, 255)
        )
    try:
        _question(bytes(frame))
    except ValueError:
        return


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_do_no_harm(frame: bytes) -> None:
    with pytest.raises(ValueError):
        _question(b"\x80\x04" + frame)


def test_a_long_pickle_is_refused_early() -> None:
    with pytest.raises(ValueError, match="opcodes"):
        read_pickle(pickle.dumps([0] * (MOST_OPCODES + 1)))


# ---------------------------------------------------------------------- staying whole


class Whole:
    """A follower, and what it was made to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.applied: list[str] = []
        self.whole = 0
        self.it = Follower(
            self._ask, lambda data, _epoch: self.applied.append(data.gateway_name), self._on_whole, lambda: self.now
        )

    def _ask(self) -> None:
        self.asked += 1

    def _on_whole(self) -> None:
        self.whole += 1

    def news(self, epoch: int, *numbers: int) -> None:
        for number in numbers:
            self.it.news(epoch, number, BaseData(str(number)))

    def snapshot(self, epoch: int, number: int) -> None:
        self.it.snapshot(epoch, number, [BaseData(f"as of {number}")])


def test_news_waits_for_the_snapshot_and_is_not_told_twice() -> None:
    it = Whole()
    it.it.beacon(Beacon(1, 3, []))
    it.news(1, 4, 5, 6)
    assert (it.asked, it.applied) == (1, [])
    it.snapshot(1, 5)
    it.news(1, 6, 7)
    assert it.applied == ["as of 5", "6", "7"]
    assert (it.asked, it.whole) == (1, 1)


def test_nothing_is_asked_for_before_a_beacon() -> None:
    it = Whole()
    it.news(1, 4, 5)
    assert it.asked == 0


@pytest.mark.parametrize("how", ["gap", "beacon", "epoch in news", "epoch in a beacon"])
def test_a_gap_or_another_epoch_is_mended_by_a_snapshot(how: str) -> None:
    it = Whole()
    it.it.beacon(Beacon(1, 0, []))
    it.snapshot(1, 0)
    it.news(1, 1)
    if how == "gap":
        it.news(1, 3)
    elif how == "beacon":
        assert not it.it.beacon(Beacon(1, 2, []))
    elif how == "epoch in news":
        it.news(2, 1)
    else:
        assert not it.it.beacon(Beacon(2, 0, []))
    assert (it.asked, it.it.whole) == (2, False)
    epoch = 2 if "epoch" in how else 1
    it.snapshot(epoch, 4)
    it.news(epoch, 5)
    assert it.applied[-2:] == ["as of 4", "5"]
    assert it.it.beacon(Beacon(epoch, 5, []))


def test_a_beacon_from_before_the_snapshot_asks_for_nothing() -> None:
    it = Whole()
    it.it.beacon(Beacon(1, 0, []))
    it.snapshot(1, 5)
    assert not it.it.beacon(Beacon(1, 4, []))
    assert (it.asked, it.it.whole) == (1, True)


def test_a_gap_behind_the_snapshot_asks_once_more() -> None:
    it = Whole()
    it.it.beacon(Beacon(1, 0, []))
    it.news(1, 2, 4)
    it.snapshot(1, 1)
    assert (it.asked, it.it.whole, it.applied) == (2, False, ["as of 1", "2"])
    it.snapshot(1, 4)
    assert it.applied == ["as of 1", "2", "as of 4"]
    assert it.it.whole


def test_a_snapshot_that_does_not_come_is_asked_for_again() -> None:
    it = Whole()
    for _each in range(3):
        it.it.beacon(Beacon(1, 0, []))
        it.now += PATIENCE_S / 2 + 0.1
        it.it.beacon(Beacon(1, 0, []))
        it.now += PATIENCE_S / 2 + 0.1
    assert it.asked == 3
    it.it.failed()
    it.it.beacon(Beacon(1, 0, []))
    assert it.asked == 4


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_whatever_is_lost_in_the_end_everything_was_told(data: st.DataObject) -> None:
    """A server that counts, a wire that loses; each snapshot holds everything up to its number."""
    it = Whole()
    told = 0
    server = 0
    for _step in range(data.draw(st.integers(1, 40))):
        what = data.draw(st.sampled_from(["news", "lost", "beacon", "snapshot"]))
        if what in ("news", "lost"):
            server += 1
            if what == "news":
                it.news(1, server)
        elif what == "beacon":
            it.it.beacon(Beacon(1, server, []))
        elif it.asked > told:
            told = it.asked
            it.snapshot(1, server)
    it.it.beacon(Beacon(1, server, []))
    if not it.it.whole:
        assert it.asked > told
        it.snapshot(1, server)
    assert it.it.beacon(Beacon(1, server, []))
    tail = it.applied[max(n for n, text in enumerate(it.applied) if text.startswith("as of")) :]
    base = int(tail[0].removeprefix("as of "))
    assert tail[1:] == [str(n) for n in range(base + 1, server + 1)]


# ---------------------------------------------------------------------- telling once


def trade(tradeid: str, volume: float, orderid: str = "o") -> TradeData:
    return TradeData("VBROKERS", "A", Exchange.SMART, orderid, tradeid, Direction.LONG, volume=volume)


def order(traded: float, status: Status = Status.PARTTRADED) -> OrderData:
    return OrderData("VBROKERS", "A", Exchange.SMART, "o", volume=300, traded=traded, status=status)


def test_a_trade_is_told_once_whichever_process_tells_it() -> None:
    it = Mirror()
    assert it.take(trade("1-100", 100), 1)
    assert it.take(trade("1-100", 100), 1) is None
    assert it.take(trade("1-100", 100), 2) is None


def test_another_process_tells_several_fills_as_one() -> None:
    it = Mirror()
    it.take(order(100), 1)
    it.take(trade("1-100", 100), 1)
    it.take(order(300, Status.ALLTRADED), 2)
    rest = it.take(trade("1-300", 300), 2)
    assert isinstance(rest, TradeData)
    assert rest.volume == 200


def test_another_process_tells_one_fill_as_several() -> None:
    it = Mirror()
    it.take(order(300, Status.ALLTRADED), 1)
    it.take(trade("1-300", 300), 1)
    assert it.take(trade("1-100", 100), 2) is None
    assert it.take(trade("1-200", 100), 2) is None
    assert it.take(trade("1-300", 100), 2) is None


def test_an_end_stays_one_and_filled_volume_only_grows() -> None:
    it = Mirror()
    assert it.take(order(200), 1)
    assert it.take(order(200), 1) is None
    behind = it.take(order(100), 2)
    assert isinstance(behind, OrderData)
    assert behind.traded == 200
    assert it.take(order(300, Status.ALLTRADED), 2)
    assert it.take(order(0, Status.SUBMITTING), 3) is None


def test_an_order_that_the_next_process_says_nothing_of_is_asked_after_once() -> None:
    it = Mirror()
    it.expect(order(0, Status.SUBMITTING), 1)
    assert it.lost_orders("VBROKERS", 1) == []
    assert it.lost_orders("IBKR", 2) == []
    [(lost, taken)] = it.lost_orders("VBROKERS", 2)
    assert (lost.orderid, taken) == ("o", 1)
    assert it.lost_orders("VBROKERS", 2) == []
    assert it.take(order(0, Status.NOTTRADED), 3)
    it.expect(order(0, Status.SUBMITTING), 3)
    assert it.orders["VBROKERS.o"].status is Status.NOTTRADED
    assert it.lost_orders("VBROKERS", 4) == []


def test_a_position_that_nobody_tells_any_more_is_flat() -> None:
    it = Mirror()
    held = PositionData("VBROKERS", "A", Exchange.SMART, Direction.NET, 100, price=5)
    kept = PositionData("VBROKERS", "B", Exchange.SMART, Direction.NET, 100)
    other = PositionData("IBKR", "A", Exchange.SMART, Direction.NET, 100)
    for position in (held, kept, other):
        it.take(copy(position), 1)
    assert it.gone_positions("VBROKERS", 1) == []
    assert it.take(copy(kept), 2) is None
    gone = it.gone_positions("VBROKERS", 2)
    assert [(position.vt_symbol, position.volume) for position in gone] == [("A.SMART", 0)]
    assert it.gone_positions("VBROKERS", 2) == []


def test_news_of_an_order_waits_for_the_return_of_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("vnpy_brokers.rpc.outbox.monotonic", lambda: now)
    it, told = Outbox(), list[str]()
    it.push("a", lambda: told.append("a1"))
    it.begin("b")
    it.push("b", lambda: told.append("b1"))
    it.push("a", lambda: told.append("a2"))
    assert it.empty() is not None
    now += 100
    assert it.empty() is not None
    it.returned("b")
    wait = it.empty()
    assert wait is not None
    assert told == ["a1"]
    now += wait + 0.001
    assert it.empty() is None
    it.push("b", lambda: told.append("b2"))
    assert told == ["a1", "b1", "a2", "b2"]


# ---------------------------------------------------------------------- addresses and keys


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:2014", "tcp://localhost:1", "tcp://[::1]:5", "tcp://127.9.9.9:1"])
def test_loopback(text: str) -> None:
    assert parse_address(text).is_loopback


@pytest.mark.parametrize("text", ["tcp://10.0.0.1:2014", "tcp://broker.example:1", "tcp://[fe80::1]:5"])
def test_not_loopback(text: str) -> None:
    assert not parse_address(text).is_loopback


@pytest.mark.parametrize("text", ["tcp://*:2014", "tcp://0.0.0.0:2014", "tcp://127.0.0.1:*"])
def test_a_server_may_listen_where_no_client_can_go(text: str) -> None:
    assert parse_address(text, listening=True).text == text
    with pytest.raises(InvalidRequest):
        parse_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "127.0.0.1:2014", "tcp://127.0.0.1", "tcp://a b:1", "ipc://x", "tcp://h:99999", "tcp://服务器:2014",
        "tcp://_h:1", "tcp://-h:1", "tcp://a,b:1", "tcp://127.0.0.1:２０１４",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_address(text, listening=True)


def test_keys_are_made_once_and_are_their_owners_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert keys.main([str(folder), "desk", "lab"]) == 0
    made = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert set(made) == {
        "server.key", "server.key_secret", "desk.key_secret", "lab.key_secret",
        os.path.join("clients", "desk.key"), os.path.join("clients", "lab.key"),
    }  # fmt: skip
    server = keys.server_curve(folder)
    assert server.public in capsys.readouterr().out
    assert server.secret not in repr(server)
    if os.name != "nt":
        assert {stat.S_IMODE(file.stat().st_mode) for file in folder.rglob("*.key_secret")} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    by_path = keys.client_curve(server.public, str(folder / "desk.key_secret"))
    assert by_path is not None
    assert keys.client_curve(server.public, by_path.secret) == by_path
    assert keys.read_public_key(folder / "clients" / "desk.key") == by_path.public
    assert keys.main([str(folder), "desk", "third"]) == 0
    for name, content in made.items():
        assert (folder / name).read_bytes() == content
    assert (folder / "third.key_secret").exists()


@pytest.mark.parametrize("arguments", [[], ["--what"], ["folder", "../x"], ["folder", "server"]])
def test_a_wrong_command_makes_no_keys(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert keys.main(arguments) == 2
    assert list(tmp_path.iterdir()) == []


def test_keys_that_are_none_are_told_in_words(tmp_path: Path) -> None:
    keys.make_keys(tmp_path, ["a"])
    public = keys.server_curve(tmp_path).public
    assert keys.client_curve("", "") is None
    # Of the form of Z85, and yet no 32 bytes: ZeroMQ takes no such key.
    odd = f'metadata\ncurve\n    public-key = "{"#" * 40}"\n    secret-key = "{"#" * 40}"\n'
    (tmp_path / "odd.key_secret").write_text(odd, encoding="utf-8")
    for server_key, secret in (
        ("short", ""),
        (public, ""),
        (public, "x"),
        ("", "x"),
        (public, str(tmp_path / "server.key")),
        ("#" * 40, str(tmp_path / "a.key_secret")),
        (public, "#" * 40),
        (public, str(tmp_path / "odd.key_secret")),
    ):
        with pytest.raises(CredentialsError):
            keys.client_curve(server_key, secret)
    with pytest.raises(CredentialsError, match=keys.COMMAND):
        keys.server_curve(tmp_path / "clients")
    (tmp_path / "server.key_secret").write_text(odd, encoding="utf-8")
    with pytest.raises(CredentialsError, match=keys.COMMAND):
        keys.server_curve(tmp_path)


def test_hang_ups_of_different_outages_are_no_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends now and then hangs up once each time; one with another key does at every try."""
    now = [1000.0]
    monkeypatch.setattr(unreachable, "monotonic", lambda: now[0])
    lines: list[str] = []
    it = unreachable.Unreachable("tcp://127.0.0.1:1", True, lines.append)
    for _outage in range(4):
        it.refused(NO_PEER)
        now[0] += 3600
    assert lines == []
    for _try in range(3):
        it.refused(NO_PEER)
        now[0] += 1
    assert len(lines) == 1
    assert "服务器公钥" in lines[0]
