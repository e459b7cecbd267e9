"""The segment of a moment by the hours that TWS writes into a contract's details (reference "tws-api", section 6.2).

``20260406:0930-20260406:1600;20260411:CLOSED`` in the contract's own zone: liquid hours are regular trading, trading
hours hold pre and post market too. The text reaches a few days ahead; beyond it, and where a text cannot be read, the
kit's calendar labels stocks (design, section 5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from vnpy_brokerkit.trading_hours import Region, Segment, segment

_SPAN = re.compile(r"(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})")
_SHUT = re.compile(r"(\d{8}):CLOSED")

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Hours:
    """One text of hours: spans of aware datetimes in order, and the days (of the contract's zone) that it speaks of."""

    spans: tuple[Span, ...] = ()
    days: frozenset[date] = frozenset()

    def at(self, moment: datetime) -> Span | None:
        """The span that holds a moment; its end is outside."""
        return next((span for span in self.spans if span[0] <= moment < span[1]), None)


def parse_hours(text: str, zone: ZoneInfo) -> Hours:
    """Read ``tradingHours`` or ``liquidHours``; what cannot be read is left out.

    Old builds leave out the second day and write several spans of one day with commas.
    """
    spans: list[Span] = []
    days: set[date] = set()
    for part in text.split(";"):
        if match := _SHUT.fullmatch(part.strip()):
            if day := _moment(match[1], "0000", zone):
                days.add(day.date())
            continue
        day_text = part.strip()[:8]
        for piece in part.strip().split(","):
            span = _span(piece if ":" in piece else f"{day_text}:{piece}", zone)
            if span:
                spans.append(span)
                days.update((span[0].date(), (span[1] - timedelta(microseconds=1)).date()))
    return Hours(tuple(sorted(spans)), frozenset(days))


def segment_by_hours(liquid: Hours, trading: Hours, at: datetime, zone: ZoneInfo, region: Region | None) -> Segment:
    """The segment at ``at``; ``region`` is the market whose calendar answers where the hours do not, if there is one.

    Without hours and without a region the answer is regular: the label refuses nothing, the broker decides.
    """
    local = at.astimezone(zone)
    if liquid.at(local):
        return Segment.REGULAR
    if not {local.date()} & (liquid.days | trading.days):
        return segment(region, at) if region else Segment.REGULAR
    session = trading.at(local)
    if session is None:
        today = [span for span in liquid.spans if span[0].date() == local.date()]
        between = any(span[1] <= local for span in today) and any(span[0] > local for span in today)
        return Segment.BREAK if between else Segment.CLOSED
    if region and segment(region, at) is Segment.AUCTION:
        return Segment.AUCTION
    ahead = any(local < span[0] < session[1] for span in liquid.spans)
    behind = any(session[0] < span[1] <= local for span in liquid.spans)
    if ahead and behind:
        return Segment.BREAK
    return Segment.PRE if ahead else Segment.POST


def _span(text: str, zone: ZoneInfo) -> Span | None:
    match = _SPAN.fullmatch(text.strip())
    if not match:
        return None
    first_day, opens, last_day, closes = match.groups()
    start, end = _moment(first_day, opens, zone), _moment(last_day or first_day, closes, zone)
    if start is None or end is None:
        return None
    if end <= start and last_day is None:
        end += timedelta(days=1)  # over midnight, in the form that names one day
    return (start, end) if start < end else None


def _moment(day: str, clock: str, zone: ZoneInfo) -> datetime | None:
    try:
        if clock == "2400":
            return datetime.strptime(day, "%Y%m%d").replace(tzinfo=zone) + timedelta(days=1)
        return datetime.strptime(f"{day}{clock}", "%Y%m%d%H%M").replace(tzinfo=zone)
    except (ValueError, OverflowError):
        return None
