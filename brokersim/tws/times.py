"""Times as TWS writes and reads them (tws-api 16, 4.4)."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Literal
from zoneinfo import ZoneInfo

from brokersim.model import Instrument

ZONE_TEXTS: dict[str, str] = {
    "America/New_York": "US/Eastern",
    "America/Chicago": "US/Central",
    "Asia/Hong_Kong": "Hongkong",
    "Asia/Shanghai": "Asia/Shanghai",
}
"""Zone -> how TWS spells it in bars, executions and contract details."""
ZoneText = Literal["instrument", "utc", "none"]

_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(-| +)(\d\d?):(\d\d)(?::(\d\d))?)?(?: +(\S+))?")


class BadTime(ValueError):
    """A time that TWS cannot read."""


def zone_text(instrument: Instrument) -> str:
    """An instrument's zone as TWS spells it."""
    return ZONE_TEXTS.get(instrument.zone, instrument.zone)


def time_text(at: datetime, instrument: Instrument, form: ZoneText = "instrument") -> str:
    """``20260413 15:27:04 US/Eastern``; by ``form`` in the instrument's zone, in UTC, or in the instrument's without
    saying so (two blanks, as old builds)."""
    if form == "utc":
        return f"{at.astimezone(timezone.utc):%Y%m%d %H:%M:%S} UTC"
    local = at.astimezone(ZoneInfo(instrument.zone))
    if form == "none":
        return f"{local:%Y%m%d  %H:%M:%S}"
    return f"{local:%Y%m%d %H:%M:%S} {zone_text(instrument)}"


def parse_time(text: str, zone: str) -> datetime | None:
    """A request's time, aware UTC; None when empty. With a dash it is UTC, else in the zone that it names or in
    ``zone`` (an IANA name). :class:`BadTime` when unreadable."""
    text = text.strip()
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise BadTime(f"the time {text!r} is not yyyymmdd HH:MM:SS zone or yyyymmdd-HH:MM:SS")
    year, month, day, gap, hour, minute, second, named = match.groups()
    try:
        tzinfo = ZoneInfo("UTC" if gap == "-" else named or zone)
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=tzinfo
        )
        return local.astimezone(timezone.utc)
    except (ValueError, OSError, KeyError, OverflowError) as error:  # no such date, or no such zone
        raise BadTime(f"the time {text!r} does not exist or names no known zone") from error
