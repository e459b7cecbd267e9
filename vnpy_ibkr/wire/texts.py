"""TWS's ways to write texts and times (tws-api 3, 6.5, 16)."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Windows' names for zones that TWS writes on such hosts (section 16); what is not here falls back to the host's zone.
ZONE_NAMES = {
    "Eastern Standard Time": "America/New_York",
    "Central Standard Time": "America/Chicago",
    "Pacific Standard Time": "America/Los_Angeles",
    "Mountain Standard Time": "America/Denver",
    "Greenwich Mean Time": "Europe/London",
    "GMT Standard Time": "Europe/London",
    "Central European Standard Time": "Europe/Berlin",
    "W. Europe Standard Time": "Europe/Berlin",
    "China Standard Time": "Asia/Shanghai",
    "Hong Kong Standard Time": "Asia/Hong_Kong",
    "Hongkong": "Asia/Hong_Kong",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Japan": "Asia/Tokyo",
    "Singapore Standard Time": "Asia/Singapore",
    "EST": "America/New_York",
    "EDT": "America/New_York",
    "CST": "America/Chicago",
    "PST": "America/Los_Angeles",
    "CET": "Europe/Berlin",
    "MET": "Europe/Berlin",
    "HKT": "Asia/Hong_Kong",
    "UTC": "UTC",
    "GMT": "UTC",
}


def unescape(text: str) -> str:
    """Undo the ``\\uXXXX`` that TWS writes for what is not ASCII (section 3); other backslashes stay.

    A character beyond the first 65,536 comes as two halves; half of one alone is shown as a replacement mark.
    """
    if "\\u" not in text:
        return text
    out, rest = "", text
    while True:
        before, mark, rest = rest.partition("\\u")
        out += before
        if not mark:
            return out.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        code, tail = rest[:4], rest[4:]
        try:
            out += chr(int(code, 16)) if len(code) == 4 else mark + code
        except ValueError:
            out += mark + code
        rest = tail


def escape(text: str) -> str:
    """Write text as ASCII with ``\\uXXXX`` for the rest: what TWS carries in orderRef (design, section 4)."""
    return "".join(c if 32 <= ord(c) < 127 and c != "\\" else f"\\u{ord(c):04x}" for c in text if ord(c) < 0x10000)


def parse_time(text: str, fallback: datetime) -> datetime:
    """Read a time as TWS writes it in orders and executions (section 6.5); ``fallback`` where it can't be read.

    ``20260413 15:27:04 US/Eastern`` in current builds, two blanks and no zone in old ones (then the host's zone), a
    dash between day and time means UTC.
    """
    day, _sep, rest = text.strip().partition("-" if "-" in text[:9] else " ")
    clock, _sep, zone_name = rest.strip().partition(" ")
    try:
        naive = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007  the zone is added below
    except ValueError:
        return fallback
    if "-" in text[:9]:
        return naive.replace(tzinfo=timezone.utc)
    zone_name = zone_name.strip()
    if not zone_name:
        return naive.astimezone()
    try:
        return naive.replace(tzinfo=ZoneInfo(ZONE_NAMES.get(zone_name, zone_name)))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return naive.astimezone()


def utc_text(text: str, now: datetime) -> str:
    """Write a time that TWS wrote in the one form that every Python knows; ``now`` where it can't be read."""
    return f"{parse_time(text, now).astimezone(timezone.utc):%Y%m%d %H:%M:%S} UTC"
