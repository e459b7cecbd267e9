"""Frames and fields of the TWS wire: bytes only, no meaning (tws-api 2.1, 3).

A frame is a 4-byte big-endian length and a payload of text fields, each ended by NUL.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal

MAX_PAYLOAD = 0xFFFFFF
"""The largest payload that either side accepts."""
MAX_DOUBLE = "1.7976931348623157E308"
"""How a server writes an unset price, margin or commission."""
MAX_INT = "2147483647"
MAX_LONG = "9223372036854775807"

MAX_EXPONENT = 400
"""A number with more digits than this before or after its point is no number of this wire."""

_UNSET_FLOAT = 1.7e308
_UNSET_INTS = frozenset({2**31 - 1, 2**63 - 1, -(2**63)})
_INFINITE = frozenset({"infinite", "infinity", "inf"})
_LENGTH = struct.Struct(">I")

Field = str | int | float | Decimal | bool | None


class FrameError(ValueError):
    """Bytes that are no frame: nothing after them can be read."""


class FieldError(ValueError):
    """A field that is missing or unreadable; ``field`` names it, the text is what the peer is told."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field
        self.text = text


# -- writing ---------------------------------------------------------------------------------------------------


def text_of(value: Field) -> str:
    """One field as it stands on the wire: bools 1 and 0, None empty, numbers plain, text without NUL."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value).replace("\0", "")


def escaped(text: str) -> bytes:
    r"""ASCII, everything beyond it as ``\uXXXX`` (outside the basic plane as two of them)."""
    if text.isascii():
        return text.encode("ascii")
    parts = []
    for character in text:
        if character.isascii():
            parts.append(character)
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            parts += [f"\\u{units[index : index + 2].hex()}" for index in range(0, len(units), 2)]
    return "".join(parts).encode("ascii")


def encode(*fields: Field) -> bytes:
    """The frame of one message."""
    payload = b"".join(escaped(text_of(field)) + b"\0" for field in fields)
    return frame(payload)


def frame(payload: bytes) -> bytes:
    """A payload with its length."""
    return _LENGTH.pack(len(payload)) + payload


# -- reading ---------------------------------------------------------------------------------------------------


class Frames:
    """Payloads out of a stream that is cut anywhere."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add what arrived; the payloads that are complete now. :class:`FrameError` for an impossible length."""
        self._data += data
        payloads = []
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > MAX_PAYLOAD:
                raise FrameError(f"a frame of {length} bytes")
            if len(self._data) < _LENGTH.size + length:
                break
            payloads.append(bytes(self._data[_LENGTH.size : _LENGTH.size + length]))
            del self._data[: _LENGTH.size + length]
        return payloads


def fields_of(payload: bytes) -> list[str]:
    """The fields of a payload; bytes beyond ASCII are kept readable."""
    return payload.removesuffix(b"\0").decode("utf-8", "backslashreplace").split("\0")


class Reader:
    """The fields of one message, read one after the other by kind; both clients' forms of unset count (tws-api 3).

    Each method takes the field's name, for the text of its :class:`FieldError`.
    """

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        self.position = 0

    @property
    def left(self) -> int:
        """Fields not read yet."""
        return len(self.fields) - self.position

    def text(self, name: str) -> str:
        if self.position >= len(self.fields):
            raise FieldError(name, f"Unable to read {name} field: the message ended")
        value = self.fields[self.position]
        self.position += 1
        return value

    def skip(self, count: int = 1) -> None:
        for _ in range(count):
            self.text("skipped")

    def flag(self, name: str) -> bool:
        """1, true or any other number but 0; empty is false."""
        value = self.text(name).strip().lower()
        if value in ("", "0", "false"):
            return False
        if value in ("1", "true"):
            return True
        return self._number(name, value) != 0

    def integer(self, name: str, unset: int = 0) -> int:
        """A whole number; ``unset`` when empty or one of the wire's words for unset."""
        value = self.text(name).strip()
        if not value:
            return unset
        number = self._number(name, value)
        if number in _UNSET_INTS or abs(number) >= _UNSET_FLOAT:
            return unset
        if number.is_infinite() or number != int(number) or abs(number) >= 2**63:
            raise self._unreadable(name, value)
        return int(number)

    def decimal(self, name: str) -> Decimal | None:
        """A number; None when unset, ``Decimal("Infinity")`` when infinite."""
        value = self.text(name).strip()
        if not value:
            return None
        number = self._number(name, value)
        if number.is_infinite():
            return number
        return None if abs(number) >= _UNSET_FLOAT or number == 2**63 - 1 or number == -(2**63) else number

    def pairs(self, name: str) -> list[tuple[str, str]]:
        """A count and that many (tag, value) pairs, each a field of its own."""
        return [(self.text(name), self.text(name)) for _ in range(self.count(name, 2))]

    def count(self, name: str, fields_each: int = 1) -> int:
        """How many entries follow, empty counting as 0; never more than the message can hold."""
        count = self.integer(name)
        if not 0 <= count * fields_each <= self.left:
            raise self._unreadable(name, str(count))
        return count

    def _number(self, name: str, value: str) -> Decimal:
        if value.lower() in _INFINITE:
            return Decimal("Infinity")
        try:
            number = Decimal(value)
        except ArithmeticError as error:
            raise self._unreadable(name, value) from error
        if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
            raise self._unreadable(name, value)
        return number

    def _unreadable(self, name: str, value: str) -> FieldError:
        return FieldError(name, f"Unable to parse data for field {name}: '{value[:40]}'")
