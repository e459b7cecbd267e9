"""Frames of the push port: the 151-byte header and the protobuf body (vbrokers-openapi 13.1 to 13.4)."""

from __future__ import annotations

import struct
from typing import TypeAlias

from google.protobuf.message import Message

from brokersim.hstong.codes import SEGMENT_CODES
from brokersim.hstong.params import Security
from brokersim.model import Level, Quote
from vnpy_vbrokers.wire.proto import push_pb2 as pb

HEADER = struct.Struct("<2shBBii128sBq")
MAGIC = b"HS"
NO_SIGNATURE = bytes(128)
PUSH = 3
TYPE_URL = "type.googleapis.com/"
MAX_BODY = 8 * 1024 * 1024
"""A client refuses a frame whose body claims to be longer."""

Payload: TypeAlias = (
    pb.BasicQotNotify | pb.TickerNotify | pb.OrderBookFullNotify | pb.BrokerNotify | pb.TradeStockDeliverNotify
)
KINDS: dict[type[Message], pb.NotifyMsgType] = {
    pb.TradeStockDeliverNotify: pb.TradeStockDeliverMsgType,
    pb.OrderBookFullNotify: pb.OrderBookNotifyMsgType,
    pb.BrokerNotify: pb.BrokerQueueNotifyMsgType,
    pb.BasicQotNotify: pb.BasicQotNotifyMsgType,
    pb.TickerNotify: pb.TickerNotifyMsgType,
}
BID, ASK = 0, 1


def header(serial: int, length: int, *, magic: bytes = MAGIC) -> bytes:
    """The header in front of a body of ``length`` bytes; the signature is left zero (13.1)."""
    return HEADER.pack(magic, PUSH, 0, 0, serial, length, NO_SIGNATURE, 0, 0)


def frame(serial: int, time_ms: int, payload: Payload) -> bytes:
    """One whole frame around a business message; its notifyId is the security's code."""
    code = payload.stockCode if isinstance(payload, pb.TradeStockDeliverNotify) else payload.security.code
    notify = pb.PBNotify(notifyMsgType=KINDS[type(payload)], notifyId=code, notifyTime=time_ms)
    notify.payload.type_url = TYPE_URL + payload.DESCRIPTOR.name
    notify.payload.value = payload.SerializeToString(deterministic=True)
    body: bytes = notify.SerializeToString(deterministic=True)
    return header(serial, len(body)) + body


def garbage(serial: int) -> bytes:
    """A frame whose magic is wrong: the client must drop the connection."""
    return header(serial, 16, magic=b"XX") + b"\xff" * 16


def oversize(serial: int) -> bytes:
    """A frame that claims a body longer than a client accepts."""
    return header(serial, MAX_BODY + 1)


def amplitude(quote: Quote) -> float:
    """The day's range in percent of the previous close (6.1)."""
    if not quote.prev_close:
        return 0.0
    return round(float((quote.high - quote.low) / quote.prev_close * 100), 3)


def quote_notify(security: Security, quote: Quote, trade_time: str) -> pb.BasicQotNotify:
    """A quote push: the few fields that the push page lists (13.4), and the segment."""
    wire_security = pb.Security(dataType=security.data_type, code=security.code)
    row = pb.BasicQot(
        security=wire_security,
        openPrice=float(quote.open),
        highPrice=float(quote.high),
        lowPrice=float(quote.low),
        lastPrice=float(quote.last),
        lastClosePrice=float(quote.prev_close),
        volume=quote.volume,
        turnover=float(quote.turnover),
        amplitude=amplitude(quote),
        tradeTime=trade_time,
        mktTmType=SEGMENT_CODES[quote.segment],
    )
    return pb.BasicQotNotify(security=wire_security, basicQot=row)


def orders_at(level: Level) -> int:
    """How many orders a level is shown to hold: a plausible number, the same for the same level."""
    return 1 + level.volume // 400


def book_notify(security: Security, side: int, levels: tuple[Level, ...], segment: int) -> pb.OrderBookFullNotify:
    """One side of the book, whole (13.4)."""
    rows = [
        pb.OrderBook(level=number, price=float(level.price), volume=level.volume, orederCount=orders_at(level))
        for number, level in enumerate(levels, 1)
    ]
    wire_security = pb.Security(dataType=security.data_type, code=security.code)
    return pb.OrderBookFullNotify(security=wire_security, side=side, orderBookList=rows, mktTmType=segment)
