"""vn.py's data classes as rows of plain values, and back: what crosses between our server and its clients.

A row is a MessagePack array of the class's own fields in their order. Enums travel by *name*, since their values are
translated (reference "vnpy-engine", trap 7); aware times as seconds since 1970, to be shown in the reader's zone; a
naive one (an option's expiry) as ISO text; ``extra`` as what MessagePack knows of plain values. Decoding is typed: what
is not exactly such a row is a :class:`ValueError`, and nothing of the sender's choosing is ever called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum
from numbers import Real
from operator import attrgetter
from types import GenericAlias
from typing import Any, Generic, TypeVar, get_type_hints
from zoneinfo import ZoneInfo

import msgspec
from vnpy.trader.object import (
    AccountData,
    BarData,
    BaseData,
    ContractData,
    LogData,
    OrderData,
    PositionData,
    TickData,
    TradeData,
)

D = TypeVar("D", bound=BaseData)
Converter = Callable[[Any], Any]

DEEPEST = 8
"""How deep lists and dicts may be nested in ``extra``."""
_PLAIN = frozenset({str, int, float, bool, type(None)})

KINDS: tuple[type[BaseData], ...] = (OrderData, TradeData, PositionData, AccountData, ContractData, LogData)
"""What the stream of news carries beside ticks; a row's kind is its place here."""


def _hook(value: object) -> object:
    """Numbers of other libraries are numbers; anything else is no plain value."""
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


encode = msgspec.msgpack.Encoder(enc_hook=_hook).encode


def plain(value: Any, depth: int = 0) -> Any:
    """A value of ``extra`` in plain types: enums by name, times as ISO text, other things as their text."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, Enum):
        return value.name
    if depth < DEEPEST:
        if isinstance(value, dict):
            return {str(plain(key, depth + 1)): plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [plain(item, depth + 1) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Real):
        return float(value)
    return str(value)


def _extra_out(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    if extra is None:
        return None
    for value in extra.values():
        if type(value) not in _PLAIN:
            break
    else:
        return extra
    cleaned: dict[str, Any] = plain(extra)
    return cleaned


def _extra_in(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    if extra is not None:
        for value in extra.values():
            if type(value) not in _PLAIN:
                _check_plain(value, 1)
    return extra


def _check_plain(value: Any, depth: int) -> None:
    if type(value) in _PLAIN:
        return
    if depth < DEEPEST and type(value) is list:
        inner = value
    elif depth < DEEPEST and type(value) is dict and all(type(key) is str for key in value):
        inner = list(value.values())
    else:
        raise ValueError(f"{type(value).__name__} in extra")
    for item in inner:
        _check_plain(item, depth + 1)


def time_out(at: datetime | None) -> float | str | None:
    """A time for the wire: an aware one as seconds, exact to the microsecond, a naive one as text."""
    if at is None:
        return None
    return at.timestamp() if at.tzinfo else at.isoformat()


def time_in(at: float | str | None, zone: ZoneInfo) -> datetime | None:
    """The time that :func:`time_out` wrote, aware ones in ``zone``. Raises ValueError."""
    if at is None:
        return None
    if isinstance(at, str):
        naive = datetime.fromisoformat(at)
        if naive.tzinfo:
            raise ValueError("an aware time as text")
        return naive
    try:
        return datetime.fromtimestamp(at, zone)
    except (OverflowError, OSError) as error:
        raise ValueError(f"no time: {at}") from error


def name_out(member: Enum | None) -> str | None:
    """An enum's member by its name."""
    return None if member is None else member.name


def name_in(kind: type[Enum]) -> Converter:
    """What gives the member of a name, and raises ValueError for a name that is none."""
    members: dict[str | None, Enum | None] = {None: None}
    members.update(kind.__members__)

    def look_up(name: str | None) -> Enum | None:
        try:
            return members[name]
        except KeyError:
            raise ValueError(f"no {kind.__name__}: {name}") from None

    return look_up


class Form(Generic[D]):
    """How one data class becomes a row, and a row such an object with its times in ``zone``."""

    def __init__(self, kind: type[D], zone: ZoneInfo) -> None:
        self.kind = kind
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        self.types: list[Any] = []
        self._values = attrgetter(*names)
        self._out: list[tuple[int, Converter]] = []
        self._in: list[tuple[int, Converter]] = []
        for place, name in enumerate(names):
            wire, out, back = _wire_form(name, hints[name], zone)
            self.types.append(wire)
            if out:
                self._out.append((place, out))
            if back:
                self._in.append((place, back))
        self._extra = names.index("extra")
        self._has_more = kind is AccountData
        if self._has_more:  # gateways may set it to what the broker says, beside balance and frozen
            self.types.append(float)

    def row(self, data: D) -> list[Any]:
        """The values of an object, ready to be encoded."""
        row = list(self._values(data))
        for place, convert in self._out:
            row[place] = convert(row[place])
        if self._has_more:
            row.append(data.available)  # type: ignore[attr-defined]  # AccountData sets it after its fields
        return row

    def build(self, row: Sequence[Any]) -> D:
        """An object from the values of a row that has the right types. Raises ValueError for an impossible one."""
        values = list(row)
        available = values.pop() if self._has_more else None
        for place, convert in self._in:
            values[place] = convert(values[place])
        extra = values.pop(self._extra)
        data = self.kind(*values)
        data.extra = extra
        if available is not None:
            data.available = available  # type: ignore[attr-defined]  # as in row()
        return data


def _wire_form(name: str, hint: Any, zone: ZoneInfo) -> tuple[Any, Converter | None, Converter | None]:
    """The type of a field on the wire, and the converters to and from it where it needs any."""
    if name == "extra":
        return dict[str, Any] | None, _extra_out, _extra_in
    optional = type(None) in getattr(hint, "__args__", ())
    kind = next((part for part in getattr(hint, "__args__", (hint,)) if part is not type(None)), hint)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return str | None if optional else str, name_out, name_in(kind)
    if kind is datetime:
        wire: Any = float | str | None if optional else float | str
        return wire, time_out, lambda at: time_in(at, zone)
    if kind is float:
        return float | None if optional else float, None, None
    return hint, None, None


class Codec:
    """Encodes and decodes everything that is not a request. Made once; for any thread."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.ticks = Form(TickData, zone)
        self.forms: dict[type[BaseData], Form[Any]] = {kind: Form(kind, zone) for kind in KINDS}
        self._tick_decoder = msgspec.msgpack.Decoder(GenericAlias(tuple, (int, *self.ticks.types)))
        self._row_decoders = [
            msgspec.msgpack.Decoder(GenericAlias(tuple, tuple(self.forms[kind].types))) for kind in KINDS
        ]
        self._news_decoder = msgspec.msgpack.Decoder(News)
        self._bars_decoder = msgspec.msgpack.Decoder(Bars)
        self._interval_in = name_in(_enum_of(BarData, "interval"))
        self._exchange_in = name_in(_enum_of(BarData, "exchange"))

    # -- ticks

    def tick(self, number: int, tick: TickData) -> bytes:
        """A tick with its number in the stream of its symbol. Raises TypeError for what is no plain value."""
        row = self.ticks.row(tick)
        row.insert(0, number)
        return encode(row)

    def read_tick(self, body: bytes | memoryview) -> tuple[int, TickData]:
        """What :meth:`tick` wrote. Raises ValueError."""
        row = self._tick_decoder.decode(body)
        return row[0], self.ticks.build(row[1:])

    # -- news

    def row(self, data: BaseData) -> tuple[int, list[Any]]:
        """Kind and row of an order, trade, position, account, contract or log line."""
        kind = type(data)
        return KINDS.index(kind), self.forms[kind].row(data)

    def news(self, epoch: int, number: int, data: BaseData) -> bytes:
        """One piece of news with its number in the server's stream. Raises TypeError as :meth:`tick` does."""
        return encode((epoch, number, *self.row(data)))

    def read_news(self, body: bytes | memoryview) -> tuple[int, int, BaseData]:
        """What :meth:`news` wrote: epoch, number, object. Raises ValueError."""
        news = self._news_decoder.decode(body)
        return news.epoch, news.number, self.read_row(news.kind, news.row)

    def read_row(self, kind: int, row: msgspec.Raw) -> BaseData:
        """An object of a kind from its encoded row. Raises ValueError."""
        if not 0 <= kind < len(KINDS):
            raise ValueError(f"no kind {kind}")
        data: BaseData = self.forms[KINDS[kind]].build(self._row_decoders[kind].decode(row))
        return data

    # -- bars

    def bars(self, bars: Sequence[BarData]) -> bytes:
        """Bars of one instrument and interval, times and numbers only beside what they share. Not of none."""
        first = bars[0]
        rows = [
            (
                time_out(bar.datetime), bar.volume, bar.turnover, bar.open_interest,
                bar.open_price, bar.high_price, bar.low_price, bar.close_price,
            )
            for bar in bars
        ]  # fmt: skip
        head = (first.gateway_name, first.symbol, first.exchange.name, name_out(first.interval))
        return encode((*head, rows))

    def read_bars(self, body: bytes | memoryview) -> list[BarData]:
        """What :meth:`bars` wrote. Raises ValueError."""
        part = self._bars_decoder.decode(body)
        exchange, interval = self._exchange_in(part.exchange), self._interval_in(part.interval)
        bars = []
        for at, *numbers in part.rows:
            stamp = time_in(at, self.zone)
            if not all(map(math.isfinite, numbers)):
                raise ValueError("a bar without numbers")
            bars.append(BarData(part.gateway, part.symbol, exchange, stamp, interval, *numbers))  # type: ignore[arg-type]
        return bars


class News(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One piece of news on the wire."""

    epoch: int
    number: int
    kind: int
    row: msgspec.Raw


class Bars(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A part of a history on the wire."""

    gateway: str
    symbol: str
    exchange: str
    interval: str | None
    rows: list[tuple[float | str, float, float, float, float, float, float, float]]


def _enum_of(kind: type[BaseData], name: str) -> type[Enum]:
    hint = get_type_hints(kind)[name]
    found: type[Enum] = next(part for part in getattr(hint, "__args__", (hint,)) if part is not type(None))
    return found
