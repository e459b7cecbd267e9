"""Bars by request: KL and the day's time share (vbrokers-openapi 6.3, 6.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import groupby
from typing import Literal

from brokersim.hstong.backend import Backend, zone
from brokersim.hstong.codes import MARKET_OF_EXCHANGE, GatewayError
from brokersim.hstong.params import Params
from brokersim.hstong.quotes import Quotes
from brokersim.model import Bar, Instrument

MAX_BARS = 1500
ADJUSTMENTS: dict[str, Literal["none", "forward", "backward"]] = {"0": "none", "1": "forward", "2": "backward"}
BACK, FORWARD = "0", "1"
DAY = timedelta(days=1)
CALENDAR_DAYS = 1.6
"""Calendar days to a trading day, amply."""
MARGIN_DAYS = 400
"""Calendar days looked at besides, so that the longest bar has one before it."""
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class MinuteCycle:
    """A cycle of ``minutes``; at most ``max_days`` days a request."""

    minutes: int
    max_days: int


MINUTE_CYCLES: dict[str, MinuteCycle] = {
    "5": MinuteCycle(1, 6),
    "14": MinuteCycle(3, 9),
    "6": MinuteCycle(5, 12),
    "7": MinuteCycle(15, 24),
    "8": MinuteCycle(30, 36),
    "9": MinuteCycle(60, 60),
    "10": MinuteCycle(120, 96),
    "13": MinuteCycle(5, 5),
}
"""13, the five-day chart, is answered with five-minute bars: the reference does not say (6.3)."""

DAY_CYCLES: dict[str, Callable[[date], tuple[int, ...]]] = {
    "2": lambda day: (day.year, day.month, day.day),
    "3": lambda day: day.isocalendar()[:2],
    "4": lambda day: (day.year, day.month),
    "11": lambda day: (day.year, (day.month - 1) // 3),
    "12": lambda day: (day.year,),
}
"""Which days make one bar: day, week, month, quarter, year."""
DAYS_A_BAR = {"2": 1, "3": 7, "4": 31, "11": 92, "12": 366}


@dataclass(frozen=True)
class _Asked:
    anchor: date
    back: bool
    adjust: Literal["none", "forward", "backward"]
    limit: int


class Bars:
    """The bar routes."""

    def __init__(self, backend: Backend, quotes: Quotes) -> None:
        self._backend = backend
        self._quotes = quotes
        self.routes = {"/hq/KL": self.kl, "/hq/TimeShare": self.time_share}

    def kl(self, params: Params) -> object:
        """Bars from an anchor day back or forward, oldest first; ``limit`` counts bars, for minutes days (6.3)."""
        security = params.security()
        cycle = params.choice("cycType", MINUTE_CYCLES.keys() | DAY_CYCLES.keys())
        asked = _Asked(
            anchor=min(max(params.day("startDate"), FIRST_DAY), LAST_DAY),
            back=params.choice("direction", {BACK, FORWARD}) == BACK,
            adjust=ADJUSTMENTS[params.choice("exRightFlag", ADJUSTMENTS)],
            limit=params.integer("limit", 1, 100_000),
        )
        if asked.back:
            asked = replace(asked, anchor=min(asked.anchor, self._backend.clock.now().date() + DAY))
        minute = MINUTE_CYCLES.get(cycle)
        self._check_limit(asked.limit, MAX_BARS if minute is None else minute.max_days)
        instrument = self._quotes.find(security)
        rows: list[dict[str, object]] = []
        if instrument is not None:
            rows = (
                self._day_rows(instrument, cycle, asked)
                if minute is None
                else self._minute_rows(instrument, minute, asked)
            )
        return {"security": security.row(), "kline": rows}

    def time_share(self, params: Params) -> object:
        """The present day minute by minute (6.4)."""
        security = params.security()
        instrument = self._quotes.find(security)
        rows = []
        if instrument is not None:
            quote = self._backend.market.quote(instrument.vt_symbol)
            day = self._local(quote.last_time, instrument).date()
            volume, turnover = 0, Decimal(0)
            for bar in self._bars_of_day(instrument, day, "none"):
                volume, turnover = volume + bar.volume, turnover + bar.turnover
                rows.append(
                    {
                        "time": self._local(bar.time, instrument).strftime("%H:%M"),
                        "price": float(bar.close),
                        "lastClosePrice": float(quote.prev_close),
                        "avgPrice": round(float(turnover / volume), 4) if volume else float(bar.close),
                        "volume": bar.volume,
                        "turnover": float(bar.turnover),
                    }
                )
        return {"security": security.row(), "timeShare": rows}

    def _check_limit(self, limit: int, most: int) -> None:
        if limit > most and self._backend.switches.kl_over_limit == "error":
            raise GatewayError("1016", f"limit 超过上限 {most}")

    # -- minutes -----------------------------------------------------------------------------------------------

    def _minute_rows(self, instrument: Instrument, cycle: MinuteCycle, asked: _Asked) -> list[dict[str, object]]:
        bars: list[Bar] = []
        for day in self._days(instrument, asked, min(asked.limit, cycle.max_days)):
            extended = self._backend.switches.kl_extended_hours
            found = merge(self._bars_of_day(instrument, day, asked.adjust, extended=extended), cycle.minutes)
            bars = [*found, *bars] if asked.back else [*bars, *found]
            if len(bars) > MAX_BARS:
                self._check_limit(len(bars), MAX_BARS)
                bars = bars[-MAX_BARS:] if asked.back else bars[:MAX_BARS]
                break
        shift = timedelta(minutes=cycle.minutes) if self._backend.switches.kl_minute_stamp == "end" else timedelta(0)
        return self._rows(instrument, [replace(bar, time=bar.time + shift) for bar in bars], None)

    def _days(self, instrument: Instrument, asked: _Asked, count: int) -> list[date]:
        """The first ``count`` trading days from the anchor on, in the direction asked."""
        days = [self._local(bar.time, instrument).date() for bar in self._daily(instrument, asked, count)]
        return days[::-1][:count] if asked.back else [day for day in days if day >= asked.anchor][:count]

    def _bars_of_day(
        self,
        instrument: Instrument,
        day: date,
        adjust: Literal["none", "forward", "backward"],
        *,
        extended: bool = False,
    ) -> list[Bar]:
        start, market = self._midnight(day, instrument), self._backend.market
        return market.bars(instrument.vt_symbol, "1m", start, start + DAY, adjust=adjust, extended=extended)

    # -- days --------------------------------------------------------------------------------------------------

    def _day_rows(self, instrument: Instrument, cycle: str, asked: _Asked) -> list[dict[str, object]]:
        count = min(asked.limit, MAX_BARS)
        key = DAY_CYCLES[cycle]
        days = self._daily(instrument, asked, count * DAYS_A_BAR[cycle])
        grouped = groupby(days, lambda bar: key(self._local(bar.time, instrument).date()))
        bars = [(slot, _merged(list(group))) for slot, group in grouped]
        if asked.back:
            first = max(0, len(bars) - count)
        else:
            first = next((at for at, (slot, _) in enumerate(bars) if slot >= key(asked.anchor)), len(bars))
        before = bars[first - 1][1].close if 0 < first <= len(bars) else None
        return self._rows(instrument, [bar for _, bar in bars[first : first + count]], before, daily=True)

    def _daily(self, instrument: Instrument, asked: _Asked, days: int) -> list[Bar]:
        """The daily bars that an answer of ``days`` trading days needs, and some before them for the previous close."""
        if asked.back:
            begin, last = asked.anchor - timedelta(days=int(days * CALENDAR_DAYS) + MARGIN_DAYS), asked.anchor
        else:
            begin, last = asked.anchor - timedelta(days=MARGIN_DAYS), LAST_DAY
        start = self._midnight(max(begin, FIRST_DAY), instrument)
        end = min(self._midnight(last, instrument), self._backend.clock.now()) + DAY
        return self._backend.market.bars(instrument.vt_symbol, "1d", start, end, adjust=asked.adjust)

    # -- rows --------------------------------------------------------------------------------------------------

    def _rows(
        self, instrument: Instrument, bars: Iterable[Bar], before: Decimal | None, *, daily: bool = False
    ) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for bar in bars:
            local = self._local(bar.time, instrument)
            if daily:
                local = local.replace(hour=0, minute=0, second=0, microsecond=0)
            rows.append(
                {
                    "date": local.strftime("%Y-%m-%d"),
                    "time": local.strftime("%H:%M"),
                    "timestamp": int(local.timestamp() * 1000),
                    "openPrice": float(bar.open),
                    "highPrice": float(bar.high),
                    "lowPrice": float(bar.low),
                    "closePrice": float(bar.close),
                    "lastClosePrice": float(bar.open if before is None else before),
                    "volume": bar.volume,
                    "turnover": float(bar.turnover),
                }
            )
            before = bar.close
        return rows

    def _local(self, at: datetime, instrument: Instrument) -> datetime:
        return at.astimezone(zone(MARKET_OF_EXCHANGE[instrument.exchange].zone))

    def _midnight(self, day: date, instrument: Instrument) -> datetime:
        midnight = datetime.combine(day, time(), zone(MARKET_OF_EXCHANGE[instrument.exchange].zone))
        return midnight.astimezone(timezone.utc)


def merge(bars: list[Bar], minutes: int) -> list[Bar]:
    """Minute bars put together into bars of ``minutes``, stamped with their start."""
    if minutes == 1:
        return bars
    span = minutes * 60
    grouped = groupby(bars, lambda bar: int(bar.time.timestamp()) // span)
    return [
        replace(_merged(list(group)), time=datetime.fromtimestamp(slot * span, timezone.utc)) for slot, group in grouped
    ]


def _merged(bars: list[Bar]) -> Bar:
    return Bar(
        time=bars[0].time,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=sum(bar.volume for bar in bars),
        turnover=sum((bar.turnover for bar in bars), Decimal(0)),
        segment=bars[0].segment,
    )
