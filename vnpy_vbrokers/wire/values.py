"""Single values as the Gateway writes them (vbrokers-openapi 2.3, 6.1, 7.6): tolerant of shape, strict about sense.

A number may come as a JSON number, a numeric string, ``""`` or ``null``; a price must never become NaN, infinity or a
Decimal whose exponent would fill the memory once somebody adds to it.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, tzinfo
from decimal import Decimal

MAX_DIGITS = 40
"""Longest text of one number: a double needs 24 characters at most."""
MAX_MAGNITUDE = 20
"""Largest power of ten: volumes are 64-bit integers, so 10**20 is beyond everything real."""
MIN_EXPONENT = -40
MAX_EPOCH_MS = 4_102_444_800_000
"""Milliseconds since 1970 up to 2100: a stamp outside is no time, and datetime would refuse much larger ones."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_DATE = re.compile(r"(\d{4})([-/]?)(\d{2})\2(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{1,2}):?(\d{2})(?::?(\d{2})(?:\.\d+)?)?", re.ASCII)


def number(value: object) -> Decimal | None:
    """Read a price, money amount or quantity; None stands for ``null``, blank and missing: unknown.

    Raises ValueError for what is no number, not finite, or absurdly large or precise.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(f"a number expected, not {type(value).__name__}")
    if isinstance(value, int) and value.bit_length() > 4 * MAX_MAGNITUDE:
        raise ValueError("number out of range")  # and before str(): CPython refuses to write out very long ones
    text = str(value).strip()
    if not text:
        return None
    if len(text) > MAX_DIGITS or not _NUMBER.fullmatch(text):
        raise ValueError(f"not a number: {shorten(text)!r}")
    result = Decimal(text)
    exponent = result.as_tuple().exponent
    if result.adjusted() > MAX_MAGNITUDE or not isinstance(exponent, int) or exponent < MIN_EXPONENT:
        raise ValueError(f"number out of range: {shorten(text)!r}")
    # 1E+2 means 100 and must also print so: requests are written with str().
    return result.quantize(Decimal(1)) if exponent > 0 else result


def integer(value: object) -> int | None:
    """Read a whole number (codes, counts, milliseconds); None when unknown. Raises ValueError like number()."""
    result = number(value)
    if result is None:
        return None
    if result != int(result):
        raise ValueError(f"a whole number expected: {result}")
    return int(result)


def text(value: object) -> str:
    """Read a text, ids and codes that come as JSON integers included; ``""`` for ``null``.

    Raises ValueError for anything else.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"a text expected, not {type(value).__name__}")
    return str(value).strip()


def flag(value: object) -> bool | None:
    """Read a yes or no that comes as true, 1 or ``"1"``; None when unknown. Raises ValueError for anything else."""
    if isinstance(value, bool):
        return value
    code = integer(value)
    if code not in (None, 0, 1):
        raise ValueError(f"0 or 1 expected: {code}")
    return None if code is None else bool(code)


def parse_date(value: str) -> date | None:
    """Read ``yyyyMMdd``, ``yyyy-MM-dd`` or ``yyyy/MM/dd``; None when it is none of them or no real day."""
    found = _DATE.fullmatch(value.strip())
    if not found:
        return None
    try:
        return date(int(found[1]), int(found[3]), int(found[4]))
    except ValueError:
        return None


def parse_time(value: str) -> time | None:
    """Read ``HH:mm:ss``, ``HHmmss`` or ``HH:mm``, fractions cut off; None when it is none of them."""
    found = _TIME.fullmatch(value.strip())
    if not found:
        return None
    try:
        return time(int(found[1]), int(found[2]), int(found[3] or 0))
    except ValueError:
        return None


def parse_datetime(day: str, moment: str, zone: tzinfo) -> datetime | None:
    """Put the two columns of a row together. The zone is not on the wire: the caller says which one is meant."""
    parsed_day, parsed_time = parse_date(day), parse_time(moment)
    if parsed_day is None or parsed_time is None:
        return None
    return datetime.combine(parsed_day, parsed_time, zone)


def parse_timestamp_text(value: str, zone: tzinfo) -> datetime | None:
    """Read a quote's ``tradeTime``: ``yyyyMMddHHmmss`` or ``yyyy-MM-dd HH:mm:ss`` (vbrokers-openapi 6.1)."""
    stripped = value.strip()
    split_at = 8 if stripped[:8].isdigit() else 10
    return parse_datetime(stripped[:split_at], stripped[split_at:].lstrip(" T"), zone)


def shorten(value: str, limit: int = 40) -> str:
    """Cut a foreign text for a message of ours."""
    return value if len(value) <= limit else f"{value[:limit]}..."
