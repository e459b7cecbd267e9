"""What server and client say to each other, beside vn.py's data.

Two ports, as vn.py's own RPC has them. On the first one a client asks and the server answers (DEALER to ROUTER): one
frame each, a version byte and a MessagePack array. Answers carry the number of their question, so that a slow one, or
one that never comes, holds up nothing. On the second one the server publishes (XPUB to SUB), one frame each:

====  ==========================================  ==========================================================
`B`   :class:`Beacon`, once a second              what a client that missed something notices it by
`S`   ``[epoch, number, kind, row]``              orders, trades, positions, accounts, contracts, log lines
`T`   vt_symbol, NUL, ``[number, row]``           the ticks of one symbol
====  ==========================================  ==========================================================

Numbers count without gaps: ``S`` in the order in which the server's event engine handled the events, ``T`` for each
symbol. The epoch is a server process's own number: with another one everything begins anew.

vn.py's own client, where it is admitted (:mod:`vnpy_brokers.rpc.legacy`), shares both ports: its questions come in
three frames (REQ) and are pickles, and what it subscribes, the empty topic, is answered under a topic of its own, so
that it sees nothing of the above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

VERSION = b"\x01"
"""The first byte of each question and answer; a pickle begins with another one."""
BEACON, NEWS, TICKS = b"B", b"S", b"T"
END_OF_SYMBOL = b"\0"

MOST_NAMES = 500
"""Symbols or orders in one question."""
MOST_REQUEST_BYTES = 256 * 1024
MOST_ANSWER_BYTES = 64 * 1024 * 1024
MOST_TOPIC_BYTES = 200
ROWS_A_PART = 2000
"""Rows of a snapshot or bars of a history in one part of an answer."""

_T = TypeVar("_T")
Name = Annotated[str, Meta(max_length=64)]
Symbol = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]


class _Ask(Struct, array_like=True, forbid_unknown_fields=True, tag=True, tag_field="question"):
    """A question. Enums by name; times as :func:`vnpy_brokers.rpc.codec.time_out` writes them."""


class Ping(_Ask):
    """Whether the server lives: answered by a :class:`Pong`."""


class Poke(_Ask):
    """Somebody has begun to listen to the second port and waits for the next :class:`Beacon`: it comes at once."""


class PlaceOrder(_Ask):
    """An order under an id that the client gave out. Answered by a :class:`Verdict`.

    ``epoch`` is the server's that the order is for, ``seen`` the newest of its seconds that the client had heard when
    it sent: the order is at most so old as that.
    """

    gateway: Name
    orderid: Name
    epoch: Count
    seen: float
    symbol: Symbol
    exchange: Name
    direction: Name
    type: Name
    offset: Name
    volume: float
    price: float
    reference: Text


class CancelOrder(_Ask):
    """A cancel; the same again does no harm. Answered by a :class:`Verdict`."""

    gateway: Name
    orderid: Name
    symbol: Symbol
    exchange: Name


class Doubt(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """An order that was sent and not answered; ``age`` in seconds since."""

    orderid: Name
    epoch: Count
    age: float


class KnowOrders(_Ask):
    """What became of orders that nobody answered: a list of :class:`Verdict`, in the same order."""

    gateway: Name
    orders: Annotated[list[Doubt], Meta(max_length=MOST_NAMES)]


class Subscribe(_Ask):
    """Instruments, as symbol and exchange, in any spelling. Answered by a list of :class:`Quoted`."""

    gateway: Name
    symbols: Annotated[list[tuple[Symbol, Name]], Meta(max_length=MOST_NAMES)]


class TakeSnapshot(_Ask):
    """Everything as it is. Answered in parts, each a :class:`SnapshotPart`."""


class History(_Ask):
    """Bars. Answered in parts as :meth:`vnpy_brokers.rpc.codec.Codec.bars` writes them; the last one holds none."""

    gateway: Name
    symbol: Symbol
    exchange: Name
    start: float | Name
    end: float | Name | None
    interval: Name | None


class Query(_Ask):
    """Read funds or positions soon."""

    gateway: Name
    what: Literal["account", "position"]


Ask = Ping | Poke | PlaceOrder | CancelOrder | KnowOrders | Subscribe | TakeSnapshot | History | Query


class Request(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A question with its number, of the asker's own counting."""

    number: Count
    ask: Ask


# How an answer goes on: the whole or the last part, a part, no answer yet, or none at all but words (a Failure).
DONE, PART, WORKING, FAILED = range(4)


class Answer(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """An answer or a part of one to the question of this number. ``part`` counts from 0."""

    number: Count
    state: int
    part: int
    body: Raw


class Pong(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The server's epoch, and a second of its own clock, which only differences may be taken of."""

    epoch: int
    now: float


ACCEPTED: Final = "accepted"
"""The order is the server's now: what becomes of it is in the news."""
REFUSED: Final = "refused"
"""It was not taken, and never will be."""
UNSURE: Final = "unsure"
"""It cannot be told yet: the gateway has no journal open."""


class Verdict(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What became of an order's request; ``reason`` in words where it was refused."""

    word: Literal["accepted", "refused", "unsure"]
    reason: str = ""


class Quoted(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A symbol's one spelling, and the last tick where there is one, with its number in the stream."""

    vt_symbol: str
    ticks: list[Raw]


class Beacon(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Epoch and number of the last news; ``ready`` are the gateways that have read their broker's lists."""

    epoch: int
    number: int
    ready: list[str]


class SnapshotPart(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Rows of one instant of the server, as of news ``number``; ``ready`` and ``gateways`` are of that instant, too."""

    epoch: int
    number: int
    gateways: list[str]
    ready: list[str]
    rows: list[tuple[int, Raw]]


class Failure(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Why there is no answer, in words; ``about`` and ``code`` as in :class:`vnpy_brokerkit.errors.BrokerError`."""

    text: str
    about: str = ""
    code: str = ""


_encode = msgspec.msgpack.Encoder().encode
_read_request = msgspec.msgpack.Decoder(Request).decode
_read_answer = msgspec.msgpack.Decoder(Answer).decode


def write_request(number: int, ask: Ask) -> bytes:
    """A question's frame. Raises ValueError where the server would not read it (a text that is too long)."""
    frame = VERSION + _encode(Request(number, ask))
    read_request(frame)
    return frame


def read_request(frame: bytes) -> Request:
    """A question from its frame. Raises ValueError."""
    if frame[:1] != VERSION:
        raise ValueError("another version")
    return _decoded(_read_request, frame)


def write_answer(number: int, state: int, part: int, body: bytes) -> bytes:
    """An answer's frame; ``body`` is encoded already."""
    return VERSION + _encode(Answer(number, state, part, Raw(body)))


def read_answer(frame: bytes) -> Answer:
    """An answer from its frame. Raises ValueError."""
    if frame[:1] != VERSION:
        raise ValueError("another version")
    return _decoded(_read_answer, frame)


def _decoded(decode: Callable[[memoryview], _T], frame: bytes) -> _T:
    try:
        return decode(memoryview(frame)[1:])
    except RecursionError as error:
        raise ValueError("nested too deep") from error
