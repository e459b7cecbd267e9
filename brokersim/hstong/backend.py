"""What the routes of the simulated Gateway share: market, desk, session, switches and the broker's own calendar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo

from brokersim.clock import SimClock
from brokersim.hstong.codes import MARKET_OF_EXCHANGE, Directory, MarketCode, data_type, wire_code
from brokersim.hstong.params import Security
from brokersim.hstong.session import LoginSession
from brokersim.hstong.switches import Switches
from brokersim.ledger import Ledger
from brokersim.market import Market
from brokersim.matching import Desk
from brokersim.model import Instrument, Order, Quote
from brokersim.sessions import TradingDays

ACCOUNT = "VBROKERS"
HONG_KONG = "Asia/Hong_Kong"
US = "SMART"
NIGHT_BEGINS, NIGHT_ENDS = time(20), time(4)
"""New York time of the US night (16.1)."""
NIGHT_KINDS = frozenset({"stock", "etf"})
OPENING_CASH = {"HKD": Decimal(5_000_000), "USD": Decimal(1_000_000), "CNY": Decimal(1_000_000)}

TIME_FORMATS = {"yyyyMMddHHmmss": "%Y%m%d%H%M%S", "yyyy-MM-dd HH:mm:ss": "%Y-%m-%d %H:%M:%S"}
DATE_FORMATS = {"yyyy-MM-dd": "%Y-%m-%d", "yyyy/MM/dd": "%Y/%m/%d", "yyyyMMdd": "%Y%m%d"}


@lru_cache
def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@lru_cache(maxsize=256)
def _written(at: datetime, zone_name: str, form: str) -> str:
    return at.astimezone(zone(zone_name)).strftime(form)


@dataclass
class Backend:
    """The Gateway's inside."""

    market: Market
    clock: SimClock
    desk: Desk
    switches: Switches
    directory: Directory
    session: LoginSession

    @property
    def ledger(self) -> Ledger:
        return self.desk.ledger

    def instrument(self, vt_symbol: str) -> Instrument:
        return self.market.instruments[vt_symbol]

    def market_of(self, vt_symbol: str) -> MarketCode:
        return MARKET_OF_EXCHANGE[self.instrument(vt_symbol).exchange]

    def local(self, at: datetime, vt_symbol: str) -> datetime:
        """``at`` in the zone of the instrument's exchange."""
        return at.astimezone(zone(self.market_of(vt_symbol).zone))

    def broker_day(self, at: datetime, market: MarketCode) -> date:
        """The broker's day that ``at`` belongs to: it rolls at Hong Kong's midnight, for US orders unless switched."""
        name = self.switches.day_rolls_at if market.exchange_type == "P" else HONG_KONG
        return at.astimezone(zone(name)).date()

    def today(self, market: MarketCode) -> date:
        return self.broker_day(self.clock.now(), market)

    def trade_time(self, at: datetime, instrument: Instrument) -> str:
        """An instant as quotes write it (6.1)."""
        wanted = self.switches.trade_time_zone
        name = MARKET_OF_EXCHANGE[instrument.exchange].zone if wanted == "exchange" else wanted
        return _written(at.replace(microsecond=0), name, TIME_FORMATS[self.switches.trade_time])

    def shown(self, quote: Quote) -> Quote:
        """A quote as this broker calls it: after a US day comes the night before the next one (4.3, 16.1).

        The data has no night, so nothing is quoted or traded in it.
        """
        instrument = self.instrument(quote.vt_symbol)
        if quote.segment != "closed" or instrument.exchange != US or instrument.kind not in NIGHT_KINDS:
            return quote
        local = self.local(self.clock.now(), quote.vt_symbol)
        if NIGHT_ENDS <= local.time() < NIGHT_BEGINS:
            return quote
        day = local.date() + timedelta(days=1) if local.time() >= NIGHT_BEGINS else local.date()
        return replace(quote, segment="night") if TradingDays.of(US).is_open(day) else quote

    def orders(self, market: MarketCode) -> list[Order]:
        """All orders of one market, newest first."""
        return [order for order in reversed(self.desk.orders.values()) if self.market_of(order.vt_symbol) is market]


def security_of(instrument: Instrument) -> Security:
    """The Security object of a carried instrument."""
    code = data_type(instrument)
    if code is None:
        raise ValueError(f"{instrument.vt_symbol} is not carried by this broker")
    return Security(code, wire_code(instrument))
