"""Trading and liquid hours as contract details say them (tws-api 6.2; design 7, "Market")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from brokersim.model import Instrument
from brokersim.sessions import DAY, Span, day_spans, from_ms, regular_spans

DAYS_AHEAD = 6


def always_open(instrument: Instrument, now: datetime) -> str:
    """The hours of a wall clock's market: every day from yesterday on, all day."""
    today = now.astimezone(ZoneInfo(instrument.zone)).date()
    days = [today + timedelta(days=offset) for offset in range(-1, DAYS_AHEAD)]
    return ";".join(f"{on:%Y%m%d}:0000-{on + DAY:%Y%m%d}:0000" for on in days)


def real_hours(instrument: Instrument, now: datetime, is_open: Callable[[date], bool], *, liquid: bool) -> str:
    """The real sessions from today on, in the instrument's zone: the regular ones, or from pre- to post-market."""
    today = now.astimezone(ZoneInfo(instrument.zone)).date()
    parts = []
    for offset in range(DAYS_AHEAD):
        on = today + timedelta(days=offset)
        if is_open(on):
            spans = day_spans(instrument, on)
            parts += _joined(regular_spans(spans) if liquid else spans, instrument.zone)
        else:
            parts.append(f"{on:%Y%m%d}:CLOSED")
    return ";".join(parts)


def _joined(spans: Iterable[Span], zone: str) -> list[str]:
    """Spans that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, end, _ in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [f"{_stamp(start, zone)}-{_stamp(end, zone)}" for start, end in joined]


def _stamp(ms: int, zone: str) -> str:
    return f"{from_ms(ms).astimezone(ZoneInfo(zone)):%Y%m%d:%H%M}"
