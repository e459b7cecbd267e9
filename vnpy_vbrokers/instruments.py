"""Instruments at VBrokers: lots, ticks and products, and vn.py's contracts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from vnpy.trader.constant import Exchange, Product
from vnpy.trader.object import ContractData

from vnpy_brokerkit.price_grid import plausible_tick, tick_size
from vnpy_brokerkit.trading_hours import Region

from .spelling import EXCHANGE2MARKET, Market, to_code

# What to try for an instrument that was never seen, the likeliest first (reference section 4.2).
DATA_TYPES: Mapping[Region, tuple[int, ...]] = {
    Region.HK: (10000, 10002, 10003, 10004, 10016, 10005),
    Region.US: (20000, 20002, 20009),
    Region.CONNECT: (30000, 30002, 30008),
}
US_OPTION = 20003
DATATYPE2PRODUCT: Mapping[int, Product] = {
    10000: Product.EQUITY,
    10002: Product.ETF,
    10003: Product.WARRANT,
    10004: Product.WARRANT,
    10005: Product.BOND,
    10016: Product.WARRANT,
    20000: Product.EQUITY,
    20002: Product.ETF,
    20003: Product.OPTION,
    20009: Product.EQUITY,
    30000: Product.EQUITY,
    30002: Product.ETF,
    30008: Product.EQUITY,
}


@dataclass(frozen=True)
class Instrument:
    """What is known of one instrument. ``lot`` and ``tick`` are shares and price units; a lot of 0 is not known."""

    symbol: str
    exchange: Exchange
    data_type: int
    lot: Decimal
    tick: Decimal
    name: str = ""
    quoted: bool = True
    """False where the account may not see quotes: lot and tick are then the tables' only."""
    priced: Decimal = Decimal(0)
    """The price at which ``tick`` holds; 0 where none is known."""

    def tick_at(self, price: Decimal, day: date) -> Decimal:
        """Return the tick at a price that may lie in another band of the table than the last one (section 16.4)."""
        if not price.is_finite() or price <= 0:
            return self.tick
        region, here, fund = self.market.region, self.priced or Decimal(1), is_fund(self.data_type)
        if fund and region is Region.HK:
            # Their tables are not known: beyond the band only the finest usual tick refuses no valid price.
            near = tick_size(region, price, day) == tick_size(region, here, day)
            return self.tick if near else tick_size(region, price, day, fund=True)
        for planned in (False, True):
            if tick_size(region, here, day, fund=fund, planned=planned) == self.tick:
                return tick_size(region, price, day, fund=fund, planned=planned)
        return self.tick

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange.value}"

    @property
    def code(self) -> str:
        return to_code(self.symbol, self.exchange)

    @property
    def market(self) -> Market:
        return EXCHANGE2MARKET[self.exchange]

    @property
    def size(self) -> Decimal:
        """The multiplier of profit and loss; 100 for a US option (general knowledge), else 1."""
        return Decimal(100 if self.data_type == US_OPTION else 1)

    @property
    def security(self) -> dict[str, Any]:
        return {"dataType": self.data_type, "code": self.code}


def contract_data(instrument: Instrument, gateway_name: str) -> ContractData:
    """Return vn.py's contract of an instrument."""
    contract = ContractData(
        gateway_name=gateway_name,
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        name=instrument.name or instrument.symbol,
        product=DATATYPE2PRODUCT.get(instrument.data_type, Product.EQUITY),
        size=float(instrument.size),
        pricetick=float(instrument.tick),
        min_volume=float(max(instrument.lot, Decimal(1))),
        stop_supported=False,
        net_position=True,
        history_data=True,
    )
    contract.extra = {"currency": instrument.market.currency}
    return contract


def usual_lot(region: Region) -> Decimal:
    """The lot where the broker does not tell: 0 (unknown) in Hong Kong, where each company sets its own."""
    if region is Region.HK:
        return Decimal(0)
    if region is Region.CONNECT:
        return Decimal(100)
    return Decimal(1)


def tick_of(region: Region, data_type: int, told: Decimal | None, price: Decimal | None, now: datetime) -> Decimal:
    """The tick size: the broker's value where it can be one, else the table's (section 16.4)."""
    fund, day = is_fund(data_type), now.date()
    if told and told > 0 and price and plausible_tick(region, told, price, day, fund=fund):
        return told
    return tick_size(region, price or Decimal(1), day, fund=fund)


def is_fund(data_type: int) -> bool:
    """Whether an instrument has a tick table that is not the one of shares."""
    return DATATYPE2PRODUCT.get(data_type) in (Product.ETF, Product.WARRANT, Product.BOND)
