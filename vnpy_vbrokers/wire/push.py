"""Push frames of the Gateway's TCP port (vbrokers-openapi 13): bytes in, events out, no I/O in the reader.

A frame is a header of 151 bytes, little endian, and a body ``PBNotify`` whose payload the notify type tells. A header
that breaks the rules means that the stream is out of step, and the connection must be dropped. A body that cannot be
read inside a well-formed frame is one lost message: an event says so, and the stream goes on.

proto3 leaves zeros out, so a zero and an absent field look the same, and quote pushes carry only a few fields
(13.4): whatever is zero, NaN or infinite there is None, "not said", and must not overwrite what is known.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from google.protobuf.message import DecodeError

from vnpy_brokerkit.errors import ConnectionFailed, ProtocolError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.waiting import within
from vnpy_vbrokers.wire import values
from vnpy_vbrokers.wire.proto import push_pb2 as pb
from vnpy_vbrokers.wire.schema import BookLevel, Security, best_first

logger = logging.getLogger(__name__)

HEADER = struct.Struct("<2shBBii128sBq")
"""szHeaderFlag, msgType, protoFmtType, protoVer, serialNo, bodyLen, bodySHA1, compressAlgorithm, reserved."""
MAGIC = b"HS"
MSG_TYPE_PUSH = 3
MAX_BODY = 8 * 1024 * 1024
"""Bytes of the longest body a header may announce; more is a violation."""
MAX_DECODED = 64 * 1024
"""Bytes of the longest body that is decoded. A book of a thousand levels has 40 kB; megabytes full of empty levels
would unpack to hundreds of megabytes of objects."""


class BookSide(enum.IntEnum):
    """The side of a book push; proto3 leaves the 0 out (13.4)."""

    BID = 0
    ASK = 1


@dataclass(frozen=True)
class QuoteUpdate:
    """What one quote push says. None: not said, so the last known value stands. Prices in the quote's currency."""

    security: Security
    open_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    last_price: Decimal | None = None
    last_close_price: Decimal | None = None
    price_spread: Decimal | None = None
    volume: Decimal | None = None
    turnover: Decimal | None = None
    lot_size: int | None = None
    is_suspended: bool | None = None
    """True or None: that a halt ended is told by the polled quote alone."""
    trade_time: str = ""
    market_time: str = ""
    stock_status: str = ""
    mkt_tm_type: int | None = None
    notify_time: int = 0
    """Epoch milliseconds of the push, 0 when left out or impossible; so in all updates."""


@dataclass(frozen=True)
class BookUpdate:
    """One whole side of the book, best level first; the other side comes in a frame of its own."""

    security: Security
    side: BookSide
    levels: tuple[BookLevel, ...]
    mkt_tm_type: int | None = None
    notify_time: int = 0


@dataclass(frozen=True)
class TickerUpdate:
    """One trade. ``side`` 0 neutral, 1 buy, 2 sell; ``timestamp`` in epoch milliseconds, 0 when left out."""

    security: Security
    price: Decimal
    volume: Decimal
    side: int = 0
    turnover: Decimal | None = None
    type: int = 0
    time: str = ""
    timestamp: int = 0
    mkt_tm_type: int | None = None
    notify_time: int = 0


@dataclass(frozen=True)
class OrderUpdate:
    """An order's news (TradeStockDeliverNotify, 13.4). None: blank or, where ``unread`` names it, no number.

    ``business_*`` is this fill, ``sum_business_*`` the total so far, ``entrust_*`` the order after a change,
    ``original_*`` before it. ``record_no`` and ``entrust_no`` may both be the id that placing the order gave.
    """

    record_no: str
    entrust_no: str
    entrust_status: str
    stock_code: str = ""
    stock_name: str = ""
    exchange_type: str = ""
    entrust_bs: str = ""
    business_price: Decimal | None = None
    business_amount: Decimal | None = None
    business_date: str = ""
    business_time: str = ""
    sum_business_amount: Decimal | None = None
    sum_business_balance: Decimal | None = None
    original_amount: Decimal | None = None
    original_price: Decimal | None = None
    left_amount: Decimal | None = None
    entrust_price: Decimal | None = None
    entrust_amount: Decimal | None = None
    remark: str = ""
    match_no: str = ""
    notify_time: int = 0
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ignored:
    """A frame that is none of our business: heartbeats, broker queues, futures, types not known yet."""

    msg_type: int
    notify_type: int | None = None


@dataclass(frozen=True)
class Damaged:
    """A well-formed frame whose content cannot be read; the stream goes on, the reason goes to the log."""

    reason: str


PushEvent = QuoteUpdate | BookUpdate | TickerUpdate | OrderUpdate | Ignored | Damaged


class FrameReader:
    """Cuts the stream into frames, however TCP split or joined them. No I/O."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._violation = ""

    def feed(self, data: bytes) -> Iterator[PushEvent]:
        """Take the next bytes and hand out the events they complete.

        Raises ProtocolError, after the events before it, when the stream breaks the rules, and from then on always:
        the connection is of no more use. Events not fetched now come with the next call.
        """
        self._buffer += data
        return self._events()

    def _events(self) -> Iterator[PushEvent]:
        while not self._violation:
            msg_type, body_length = self._header()
            end = HEADER.size + body_length
            if self._violation or len(self._buffer) < end:
                break
            body = bytes(self._buffer[HEADER.size : end])
            del self._buffer[:end]  # bytearray moves its start instead of the rest
            yield Ignored(msg_type) if msg_type != MSG_TYPE_PUSH else decode_body(body)
        if self._violation:
            self._buffer.clear()
            raise ProtocolError(_("推送数据错位（{what}），断开重连").format(what=self._violation), about="push")

    def _header(self) -> tuple[int, int]:
        """Message type and body length; the rules are checked as soon as their bytes are there."""
        buffer = self._buffer
        if not MAGIC.startswith(bytes(buffer[:2])):
            self._violation = "szHeaderFlag"
            return 0, 0
        if len(buffer) < HEADER.size:
            return 0, 0
        _magic, msg_type, _fmt, _ver, _serial, body_length, _sha1, compress, _reserved = HEADER.unpack_from(buffer)
        if not 0 <= body_length <= MAX_BODY:
            self._violation = f"bodyLen {body_length}"
        elif compress != 0:
            self._violation = f"compressAlgorithm {compress}"
        return msg_type, body_length


def decode_body(body: bytes) -> PushEvent:
    """Decode one frame's ``PBNotify`` and its payload. Never raises: what cannot be read is Damaged."""
    if len(body) > MAX_DECODED:
        return Damaged(f"body of {len(body)} bytes")
    try:
        notify = pb.PBNotify.FromString(body)
        notify_type = int(notify.notifyMsgType)
        decode = _DECODERS.get(notify_type)
        if decode is None or not body:
            return Ignored(MSG_TYPE_PUSH, notify_type)
        return decode(notify)
    except (DecodeError, ValueError) as exc:
        return Damaged(f"{type(exc).__name__}: {values.shorten(str(exc), 120)}")


def _quote(notify: pb.PBNotify) -> PushEvent:
    message = pb.BasicQotNotify.FromString(notify.payload.value)
    row = message.basicQot
    return QuoteUpdate(
        security=_security(message.security if message.security.code else row.security),
        open_price=_said(row.openPrice),
        high_price=_said(row.highPrice),
        low_price=_said(row.lowPrice),
        last_price=_said(row.lastPrice),
        last_close_price=_said(row.lastClosePrice),
        price_spread=_said(row.priceSpread),
        volume=_said(row.volume) or _said(row.volumeStr),
        turnover=_said(row.turnover),
        lot_size=row.lotSize if row.lotSize > 0 else None,
        is_suspended=row.isSuspended or None,
        trade_time=row.tradeTime,
        market_time=row.marketTime,
        stock_status=row.stockStatus,
        mkt_tm_type=row.mktTmType or None,
        notify_time=_moment(notify.notifyTime),
    )


def _book(notify: pb.PBNotify) -> PushEvent:
    message = pb.OrderBookFullNotify.FromString(notify.payload.value)
    side = BookSide(message.side)
    levels = tuple(_level(row) for row in message.orderBookList)
    return BookUpdate(
        security=_security(message.security),
        side=side,
        levels=best_first(levels, bid=side is BookSide.BID),
        mkt_tm_type=message.mktTmType or None,
        notify_time=_moment(notify.notifyTime),
    )


def _level(row: pb.OrderBook) -> BookLevel:
    return BookLevel(
        price=_said(row.price) or Decimal(0),  # best_first() leaves out what has no price
        volume=_said(row.volume) or Decimal(0),
        level=row.level,
        oreder_count=row.orederCount,
        broke_id=row.brokeId,
    )


def _ticker(notify: pb.PBNotify) -> PushEvent:
    message = pb.TickerNotify.FromString(notify.payload.value)
    row = message.ticker
    price = _said(row.price)
    if price is None:
        return Damaged("TickerNotify without a price")
    return TickerUpdate(
        security=_security(message.security),
        price=price,
        volume=_said(row.volume) or Decimal(0),
        side=row.side,
        turnover=_said(row.turnover),
        type=row.type,
        time=row.time,
        timestamp=_moment(row.timestamp),
        mkt_tm_type=row.mktTmType or None,
        notify_time=_moment(notify.notifyTime),
    )


_ORDER_NUMBERS = {
    "business_price": "businessPrice",
    "business_amount": "businessAmount",
    "sum_business_amount": "sumBusinessAmount",
    "sum_business_balance": "sumBusinessBalance",
    "original_amount": "originalAmount",
    "original_price": "originalPrice",
    "left_amount": "leftAmount",
    "entrust_price": "entrustPrice",
    "entrust_amount": "entrustAmount",
}


def _order(notify: pb.PBNotify) -> PushEvent:
    row = pb.TradeStockDeliverNotify.FromString(notify.payload.value)
    record_no, entrust_no = row.recordNo.strip(), row.entrustNo.strip()
    if not (record_no or entrust_no):
        return Damaged("TradeStockDeliverNotify without recordNo and entrustNo")
    numbers: dict[str, Decimal | None] = {}
    unread: list[str] = []
    for name, wire_name in _ORDER_NUMBERS.items():
        try:
            numbers[name] = values.number(getattr(row, wire_name))
        except ValueError:
            # The status is worth having without it; the quantities can be read from the list.
            unread.append(wire_name)
    return OrderUpdate(
        record_no=record_no,
        entrust_no=entrust_no,
        entrust_status=row.entrustStatus.strip().upper(),
        stock_code=row.stockCode.strip(),
        stock_name=row.stockName,
        exchange_type=row.exchangeType.strip(),
        entrust_bs=row.entrustBs.strip(),
        business_date=row.businessDate,
        business_time=row.businessTime,
        remark=row.remark,
        match_no=row.matchNo.strip(),
        notify_time=_moment(notify.notifyTime),
        unread=tuple(unread),
        **numbers,
    )


# Both cash types carry the same message; futures and broker queues are ignored.
_DECODERS: dict[int, Callable[[pb.PBNotify], PushEvent]] = {
    pb.TrsStockDeliverMsgType: _order,
    pb.TradeStockDeliverMsgType: _order,
    pb.OrderBookNotifyMsgType: _book,
    pb.BasicQotNotifyMsgType: _quote,
    pb.TickerNotifyMsgType: _ticker,
}


def _security(message: pb.Security) -> Security:
    if not message.code:
        raise ValueError("no security")
    return Security(message.dataType, message.code)


def _said(value: float | str) -> Decimal | None:
    """The number, or None for what a push leaves out or cannot mean: zero, negative, NaN, infinite, absurd."""
    try:
        found = values.number(value)
    except ValueError:
        return None
    return found if found is not None and found > 0 else None


def _moment(epoch_ms: int) -> int:
    return epoch_ms if 0 < epoch_ms < values.MAX_EPOCH_MS else 0


KEEPALIVE: tuple[tuple[str, int], ...] = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPALIVE", 15),  # what macOS calls it
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 3),
)
"""Seconds, seconds and probes: a dead peer is noticed after half a minute. Platforms have some of them."""


async def open_push(
    host: str, port: int, connect_timeout: float = 3
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the push port: no handshake, nothing is ever sent (13.6). The caller closes the writer.

    Silence is normal there, so it is TCP's keepalive that finds out when the other side is gone. Raises
    ConnectionFailed when the port does not answer within ``connect_timeout`` seconds.
    """
    opened: list[asyncio.StreamWriter] = []

    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(host, port)
        opened.append(streams[1])
        return streams

    try:
        reader, writer = await within(connect_timeout, connect())
    except asyncio.CancelledError:
        for writer in opened:  # connected in the very turn of the cancel: nobody gets it
            writer.close()
        raise
    except (OSError, OverflowError, asyncio.TimeoutError) as exc:
        text = _("连不上推送端口 {host}:{port}（{reason}），请确认OpenAPI Gateway已启动且端口一致")
        raise ConnectionFailed(text.format(host=host, port=port, reason=type(exc).__name__), about="push") from exc
    if writer.get_extra_info("sockname") == writer.get_extra_info("peername"):
        # Retrying a free loopback port can, by chance, connect a socket to itself; it would stay silent for ever.
        writer.close()
        raise ConnectionFailed(_("推送端口 {host}:{port} 没有程序在监听").format(host=host, port=port), about="push")
    _keep_alive(writer.get_extra_info("socket"))
    return reader, writer


def _keep_alive(sock: Any) -> None:
    settings = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    settings += [
        (socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in KEEPALIVE if hasattr(socket, name)
    ]
    for level, option, value in settings:
        try:
            sock.setsockopt(level, option, value)
        except OSError as exc:  # an older system knows fewer options; the HTTP probe finds a dead Gateway too
            logger.debug("socket option %s not set: %s", option, exc)
