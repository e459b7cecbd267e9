"""Push frames: the reference's known answers, every split, broken streams and damaged payloads."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.errors import ConnectionFailed, ProtocolError
from vnpy_vbrokers.wire.proto import push_pb2 as pb
from vnpy_vbrokers.wire.push import (
    HEADER,
    MAX_BODY,
    MAX_DECODED,
    BookSide,
    BookUpdate,
    Damaged,
    FrameReader,
    Ignored,
    OrderUpdate,
    PushEvent,
    QuoteUpdate,
    TickerUpdate,
    decode_body,
    open_push,
)
from vnpy_vbrokers.wire.schema import Security

# vbrokers-openapi 13.5
TICKER_FRAME = (
    bytes.fromhex("4853030000000700000077000000")
    + bytes(137)
    + bytes.fromhex(
        "08a49c0112044141504c1881d8c1a28c3422640a20747970652e676f6f676c65617069732e636f6d2f5469636b65724e6f74696679"
        "12400a0a08a09c0112044141504c12320a0830393a34353a30301001190000000000106940206429000000008094d3403880d8c1a28c"
        "3440ffffffffffffffffff01"
    )
)
ORDER_FRAME = (
    bytes.fromhex("485303000000080000006f000000")
    + bytes(137)
    + bytes.fromhex(
        "080112044141504c1882d8c1a28c34225e0a2b747970652e676f6f676c65617069732e636f6d2f547261646553746f636b44656c6976"
        "65724e6f74696679122f12044141504c2201314a01505201326204313030318a010231309201063138302e30309a01023130a2010431"
        "303031"
    )
)
AAPL = pb.Security(dataType=20000, code="AAPL")


def frame(
    body: bytes, *, msg_type: int = 3, length: int | None = None, magic: bytes = b"HS", compress: int = 0
) -> bytes:
    """Pack a frame by itself: the reader's own Struct is under test."""
    head = magic + struct.pack("<hBBii", msg_type, 0, 0, 1, len(body) if length is None else length)
    return head + bytes(128) + struct.pack("<Bq", compress, 0) + body


def notify(kind: int, message: Message) -> bytes:
    body: Any = pb.PBNotify(notifyTime=1)  # Any: also numbers that the enum does not know
    body.notifyMsgType = kind
    body.payload.value = message.SerializeToString()
    return bytes(body.SerializeToString())


def read_all(chunks: Iterable[bytes]) -> tuple[list[PushEvent], str]:
    """Everything that comes out of a stream, and the violation that ended it."""
    reader, events = FrameReader(), list[PushEvent]()
    for chunk in chunks:
        try:
            for event in reader.feed(chunk):
                events.append(event)
        except ProtocolError as error:
            return events, error.text
    return events, ""


def split_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def quote(**fields: Any) -> QuoteUpdate:
    row = pb.BasicQot(**fields)
    event = decode_body(notify(pb.BasicQotNotifyMsgType, pb.BasicQotNotify(security=AAPL, basicQot=row)))
    assert isinstance(event, QuoteUpdate)
    return event


def order(**fields: str) -> PushEvent:
    return decode_body(notify(pb.TradeStockDeliverMsgType, pb.TradeStockDeliverNotify(**fields)))


def test_the_header_has_the_documented_layout() -> None:
    assert (HEADER.size, HEADER.format) == (151, "<2shBBii128sBq")
    assert (len(TICKER_FRAME), len(ORDER_FRAME)) == (151 + 119, 151 + 111)


def test_the_known_ticker() -> None:
    assert read_all([TICKER_FRAME]) == (
        [
            TickerUpdate(
                security=Security(20000, "AAPL"),
                price=Decimal("200.5"),
                volume=Decimal(100),
                side=1,
                turnover=Decimal("20050.0"),
                time="09:45:00",
                timestamp=1790000000000,
                mkt_tm_type=-1,
                notify_time=1790000000001,
            )
        ],
        "",
    )


def test_the_known_order() -> None:
    assert read_all([ORDER_FRAME]) == (
        [
            OrderUpdate(
                record_no="1001",
                entrust_no="1001",
                entrust_status="2",
                stock_code="AAPL",
                exchange_type="P",
                entrust_bs="1",
                left_amount=Decimal(10),
                entrust_price=Decimal("180.00"),
                entrust_amount=Decimal(10),
                notify_time=1790000000002,
            )
        ],
        "",
    )


def test_every_single_cut_gives_the_same_events() -> None:
    stream = TICKER_FRAME + frame(b"", msg_type=0) + ORDER_FRAME
    whole = read_all([stream])
    assert len(whole[0]) == 3
    for cut in range(len(stream) + 1):
        assert read_all([stream[:cut], stream[cut:]]) == whole


def test_byte_by_byte() -> None:
    stream = ORDER_FRAME + TICKER_FRAME
    assert read_all(stream[i : i + 1] for i in range(len(stream))) == read_all([stream])


def test_a_quote_tells_only_what_it_carries() -> None:
    update = quote(lastPrice=202.35, volume=31522010, turnover=6.37e9, tradeTime="20260310103015")
    assert update == QuoteUpdate(
        Security(20000, "AAPL"),
        last_price=Decimal("202.35"),
        volume=Decimal(31522010),
        turnover=Decimal("6370000000.0"),
        trade_time="20260310103015",
        notify_time=1,
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e300, 5e-324])
def test_a_price_that_cannot_be_one_is_not_said(value: float) -> None:
    update = quote(lastPrice=value, highPrice=3.5)
    assert (update.last_price, update.high_price) == (None, Decimal("3.5"))


def test_the_text_twin_of_the_volume_serves() -> None:
    assert quote(volumeStr="77").volume == 77
    assert quote(volumeStr="many").volume is None


def test_suspension_lot_and_segment_only_when_set() -> None:
    bare = quote(lastPrice=1.0)
    assert (bare.is_suspended, bare.lot_size, bare.mkt_tm_type) == (None, None, None)
    full = quote(isSuspended=True, lotSize=100, mktTmType=-3, priceSpread=0.01)
    assert (full.is_suspended, full.lot_size, full.mkt_tm_type) == (True, 100, -3)
    assert full.price_spread == Decimal("0.01")


@pytest.mark.parametrize("moment", [-1, 2**63 - 1, 4_102_444_800_000])
def test_a_stamp_that_is_no_time_is_not_said(moment: int) -> None:
    ticker = pb.TickerNotify(security=AAPL, ticker=pb.Ticker(price=1.0, timestamp=moment))
    event = decode_body(notify(pb.TickerNotifyMsgType, ticker))
    assert isinstance(event, TickerUpdate)
    assert event.timestamp == 0


def test_a_quote_may_name_its_security_inside() -> None:
    row = pb.BasicQot(security=AAPL, lastPrice=1.0)
    event = decode_body(notify(pb.BasicQotNotifyMsgType, pb.BasicQotNotify(basicQot=row)))
    assert isinstance(event, QuoteUpdate)
    assert event.security == Security(20000, "AAPL")


def test_a_book_side_is_sorted_and_bid_is_the_absent_zero() -> None:
    rows = [pb.OrderBook(level=2, price=9.9, volume=5), pb.OrderBook(level=1, price=10.0, volume=7, orederCount=2)]
    rows += [pb.OrderBook(level=3, price=float("nan"), volume=1), pb.OrderBook(level=4)]
    bid = decode_body(notify(pb.OrderBookNotifyMsgType, pb.OrderBookFullNotify(security=AAPL, orderBookList=rows)))
    ask = decode_body(
        notify(pb.OrderBookNotifyMsgType, pb.OrderBookFullNotify(security=AAPL, side=1, orderBookList=rows))
    )
    assert isinstance(bid, BookUpdate)
    assert isinstance(ask, BookUpdate)
    assert (bid.side, [level.price for level in bid.levels]) == (BookSide.BID, [Decimal("10.0"), Decimal("9.9")])
    assert (ask.side, [level.price for level in ask.levels]) == (BookSide.ASK, [Decimal("9.9"), Decimal("10.0")])
    assert bid.levels[0].oreder_count == 2


def test_an_emptied_side_is_an_update_without_levels() -> None:
    event = decode_body(notify(pb.OrderBookNotifyMsgType, pb.OrderBookFullNotify(security=AAPL)))
    assert isinstance(event, BookUpdate)
    assert event.levels == ()


def test_an_order_may_lack_one_of_its_numbers() -> None:
    event = order(recordNo="7", entrustStatus="e", sumBusinessAmount="many", businessAmount="", leftAmount="0")
    assert isinstance(event, OrderUpdate)
    assert (event.entrust_status, event.unread) == ("E", ("sumBusinessAmount",))
    assert (event.sum_business_amount, event.business_amount, event.left_amount) == (None, None, Decimal(0))


def test_type_zero_is_an_order_too() -> None:
    body = notify(pb.TrsStockDeliverMsgType, pb.TradeStockDeliverNotify(entrustNo="9", entrustStatus="8"))
    event = decode_body(body)
    assert isinstance(event, OrderUpdate)
    assert (event.record_no, event.entrust_no) == ("", "9")


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (b"", Ignored(3, 0)),
        (notify(pb.BrokerQueueNotifyMsgType, pb.BrokerNotify(security=AAPL)), Ignored(3, 20002)),
        (notify(pb.FuturesTradeStockDeliverMsgType, pb.TradeStockDeliverNotify(recordNo="1")), Ignored(3, 2)),
        (notify(31337, pb.TradeStockDeliverNotify(recordNo="1")), Ignored(3, 31337)),
    ],
    ids=["empty", "broker queue", "futures", "unknown"],
)
def test_what_is_not_ours_is_ignored(body: bytes, event: Ignored) -> None:
    assert read_all([frame(body) + ORDER_FRAME])[0][0] == event


@pytest.mark.parametrize("msg_type", [0, 1, 2, -1])
def test_other_frames_are_skipped_with_their_bodies(msg_type: int) -> None:
    events, error = read_all([frame(b"HS" * 200, msg_type=msg_type) + TICKER_FRAME])
    assert (events[0], len(events), error) == (Ignored(msg_type), 2, "")


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff",
        notify(pb.TradeStockDeliverMsgType, pb.TradeStockDeliverNotify(entrustStatus="2")),
        notify(pb.BasicQotNotifyMsgType, pb.BasicQotNotify(basicQot=pb.BasicQot(lastPrice=1.0))),
        notify(pb.OrderBookNotifyMsgType, pb.OrderBookFullNotify(security=AAPL, side=2)),
        notify(pb.TickerNotifyMsgType, pb.TickerNotify(security=AAPL)),
        pb.PBNotify(notifyMsgType=pb.TickerNotifyMsgType, payload={"value": b"\x12\xff"}).SerializeToString(),
        notify(pb.TradeStockDeliverMsgType, pb.TradeStockDeliverNotify(recordNo="1")).replace(b"1", b"\xfe"),
        bytes(MAX_DECODED + 1),
    ],
    ids=["no protobuf", "order id", "security", "side", "price", "payload", "utf-8", "too long"],
)
def test_a_damaged_body_costs_one_event_and_not_the_stream(body: bytes) -> None:
    events, error = read_all([frame(body) + ORDER_FRAME])
    assert isinstance(events[0], Damaged)
    assert events[0].reason
    assert isinstance(events[1], OrderUpdate)
    assert error == ""


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (frame(b"", magic=b"XX"), "szHeaderFlag"),
        (b"HX", "szHeaderFlag"),
        (b"\n", "szHeaderFlag"),
        (frame(b"", length=-1), "bodyLen -1"),
        (frame(b"", length=MAX_BODY + 1), f"bodyLen {MAX_BODY + 1}"),
        (frame(b"", length=2**31 - 1), "bodyLen 2147483647"),
        (frame(b"", compress=1), "compressAlgorithm 1"),
        (frame(b"", msg_type=0, compress=1), "compressAlgorithm 1"),
    ],
)
def test_a_violation_ends_the_stream_after_the_events_before_it(bad: bytes, what: str) -> None:
    events, error = read_all([ORDER_FRAME + bad + TICKER_FRAME])
    assert len(events) == 1
    assert what in error


def test_after_a_violation_the_reader_is_dead() -> None:
    reader = FrameReader()
    with pytest.raises(ProtocolError):
        list(reader.feed(b"XX"))
    with pytest.raises(ProtocolError):
        list(reader.feed(TICKER_FRAME))


def test_events_not_fetched_come_with_the_next_call() -> None:
    reader = FrameReader()
    events = reader.feed(ORDER_FRAME + TICKER_FRAME)
    assert isinstance(next(events), OrderUpdate)
    assert [type(event) for event in reader.feed(ORDER_FRAME)] == [TickerUpdate, OrderUpdate]


def test_a_long_frame_in_small_pieces_is_not_copied_again_and_again() -> None:
    stream = frame(bytes(2 * 1024 * 1024)) + TICKER_FRAME
    reader, events = FrameReader(), list[PushEvent]()
    tracemalloc.start()
    try:
        for start in range(0, len(stream), 1024):
            events += reader.feed(stream[start : start + 1024])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [type(event) for event in events] == [Damaged, TickerUpdate]
    assert peak < 8 * 1024 * 1024


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=12), st.integers(0, 3), st.binary(max_size=300))
def test_any_split_of_good_and_bad_streams_reads_the_same(cuts: list[int], good: int, tail: bytes) -> None:
    stream = (TICKER_FRAME + ORDER_FRAME) * good + frame(tail) + tail
    assert read_all(split_at(stream, cuts)) == read_all([stream])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 531), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_frames_never_break_the_reader(changes: list[tuple[int, int]]) -> None:
    stream = bytearray(TICKER_FRAME + ORDER_FRAME)
    for position, value in changes:
        stream[position] = value
    events, error = read_all([bytes(stream)])
    assert error or len(events) <= 2


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_body_decodes_or_is_damaged(body: bytes) -> None:
    assert isinstance(decode_body(body), PushEvent)


def test_open_push_keeps_the_connection_alive_and_reads() -> None:
    async def scenario() -> tuple[int, list[PushEvent]]:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(TICKER_FRAME)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await open_push("127.0.0.1", server.sockets[0].getsockname()[1], 5)
        alive = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        events = list(FrameReader().feed(await reader.read()))
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return alive, events

    alive, events = asyncio.run(scenario())
    assert alive
    assert isinstance(events[0], TickerUpdate)


def test_open_push_says_which_port_is_shut() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}"):
            asyncio.run(open_push("127.0.0.1", port, 5))
    with pytest.raises(ConnectionFailed):
        asyncio.run(open_push("127.0.0.1", 70000, 5))


def test_a_socket_connected_to_itself_is_no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    class OwnPeer:
        closed = False

        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return ("127.0.0.1", 40000)

        def close(self) -> None:
            self.closed = True

    writer = OwnPeer()

    async def to_itself(_host: str, _port: int) -> tuple[None, OwnPeer]:
        return None, writer

    monkeypatch.setattr(asyncio, "open_connection", to_itself)
    with pytest.raises(ConnectionFailed):
        asyncio.run(open_push("127.0.0.1", 40000, 5))
    assert writer.closed


@pytest.mark.parametrize(
    "module", ["vnpy_vbrokers.wire.proto.push_pb2", "vnpy_vbrokers.wire.push", "vnpy_vbrokers.wire.http"]
)
def test_the_wire_loads_no_vnpy(module: str) -> None:
    code = f"import sys, {module}, vnpy_vbrokers; vnpy_vbrokers.__version__; sys.exit('vnpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
