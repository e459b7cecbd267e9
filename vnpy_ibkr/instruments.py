"""One instrument: what TWS's contract details say about it, as the gateway and as vn.py need it.

The mapping stands here, with the choice among several contracts that fit a query; nothing here asks TWS anything
(reference "tws-api", sections 6.2 and 14).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ib_async.contract import Contract, ContractDetails
from vnpy.trader.constant import Exchange, OptionType, Product
from vnpy.trader.object import ContractData

from .segments import Hours, parse_hours
from .spelling import EXCHANGE_VT2IB, Key
from .wire.texts import ZONE_NAMES

SECTYPE2PRODUCT: Mapping[str, Product] = {
    "STK": Product.EQUITY,
    "CASH": Product.FOREX,
    "FUT": Product.FUTURES,
    "OPT": Product.OPTION,
    "FOP": Product.OPTION,
    "IND": Product.INDEX,
    "CMDTY": Product.SPOT,
    "CRYPTO": Product.SPOT,
    "CFD": Product.CFD,
    "FUND": Product.FUND,
    "BOND": Product.BOND,
    "WAR": Product.WARRANT,
    "IOPT": Product.WARRANT,
    "BAG": Product.SPREAD,
}
STOCKTYPE2PRODUCT: Mapping[str, Product] = {"ETF": Product.ETF, "ETN": Product.ETF, "ETC": Product.ETF}
RIGHT2OPTION: Mapping[str, OptionType] = {"C": OptionType.CALL, "P": OptionType.PUT}
STOCKS = frozenset({"STK", "WAR", "IOPT"})
"""Traded in whole shares and board lots."""
US_PRIMARY = frozenset({"NASDAQ", "NYSE", "ARCA", "AMEX", "BATS", "ISLAND", "IEX", "PINK"})

Bands = tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True)
class Instrument:
    """What is known of one instrument. Prices in its currency's quoting unit, volumes in shares or contracts."""

    symbol: str
    exchange: Exchange
    contract: Contract
    """As requests and orders take it: with conId, and routed to SMART or its venue. Copy it before changing it."""
    name: str
    product: Product
    size: Decimal
    """What a price move of one is worth: the multiplier, less the price magnifier of products that are quoted in cents
    or pence (section 14.1). TWS's average cost divided by it is a price."""
    tick: Decimal
    """The price step around the last known price."""
    lot: Decimal
    currency: str
    zone: ZoneInfo
    liquid_hours: Hours
    trading_hours: Hours
    bands: Bands = ()
    """The venue's market rule: steps from each lower edge on; empty where there is one step only."""

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange.value}"

    @property
    def key(self) -> Key:
        return self.symbol, self.exchange

    @property
    def con_id(self) -> int:
        return int(self.contract.conId)

    def tick_at(self, price: Decimal) -> Decimal:
        """The price step at a price: what an order at that price must fit."""
        steps = [step for edge, step in self.bands if edge <= abs(price)]
        return steps[-1] if steps else self.tick

    def is_stale(self, now: datetime) -> bool:
        """Whether the texts of its hours do not reach the present day any more."""
        days = self.liquid_hours.days | self.trading_hours.days
        return bool(days) and now.astimezone(self.zone).date() not in days


@dataclass
class Found:
    """One contract as TWS described it, and the steps of its market rule."""

    details: ContractDetails
    contract: Contract = field(init=False)
    bands: Bands = ()

    def __post_init__(self) -> None:
        assert self.details.contract is not None
        self.contract = self.details.contract


def make_instrument(key: Key, found: Found, tick: Decimal) -> Instrument:
    """An instrument from what TWS said about it; ``tick`` is its price step for now."""
    details = found.details
    contract = copy(found.contract)
    if contract.secType == "STK":
        contract.exchange = EXCHANGE_VT2IB.get(key[1], key[1].value)
    zone = _zone(details.timeZoneId)
    return Instrument(
        symbol=key[0],
        exchange=key[1],
        contract=contract,
        name=details.longName or contract.localSymbol or key[0],
        product=_product(details, contract.secType),
        size=(exact(contract.multiplier) or Decimal(1)) / max(details.priceMagnifier, 1),
        tick=tick,
        lot=_lot(details, contract.secType),
        currency=contract.currency,
        zone=zone,
        liquid_hours=parse_hours(details.liquidHours, zone),
        trading_hours=parse_hours(details.tradingHours, zone),
        bands=found.bands,
    )


def contract_data(instrument: Instrument, gateway_name: str) -> ContractData:
    """The contract as vn.py takes it: plain numbers, a picklable ``extra``."""
    contract = ContractData(
        gateway_name=gateway_name,
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        name=instrument.name,
        product=instrument.product,
        size=float(instrument.size),
        pricetick=float(instrument.tick),
        min_volume=float(instrument.lot),
        stop_supported=True,
        net_position=True,
        history_data=True,
    )
    contract.extra = {"currency": instrument.currency, "con_id": instrument.con_id}
    if instrument.product is Product.OPTION:
        _add_option(contract, instrument)
    return contract


def one_per_contract(rows: list[ContractDetails], query: Contract) -> list[Found]:
    """One row of each contract: without an exchange TWS answers a row for each venue.

    The row that SMART or the asked venue routes comes first, then the home venue's.
    """
    best: dict[int, Found] = {}
    for row in rows:
        if row.contract is None:
            continue
        found = Found(row)
        known = best.get(found.contract.conId)
        if known is None or _venue_rank(found.contract, query) < _venue_rank(known.contract, query):
            best[found.contract.conId] = found
    return list(best.values())


def _venue_rank(contract: Contract, query: Contract) -> int:
    ranks = (query.exchange, "SMART", contract.primaryExchange)
    return next((rank for rank, venue in enumerate(ranks) if venue and venue == contract.exchange), len(ranks))


def choose(found: list[Found], query: Contract) -> Found | None:
    """The contract that was meant among several (section 14.1), or ``None`` where that cannot be told.

    Its own symbol rather than one that TWS took for it, the class that is named like the product (SI, not SIL; SPX, not
    SPXW), and for a US stock the listing at home.
    """
    preferences: tuple[Callable[[Found], bool], ...] = (
        lambda one: not query.symbol or one.contract.symbol == query.symbol,
        lambda one: one.contract.tradingClass == one.contract.symbol or one.contract.secType == "STK",
        lambda one: one.contract.secType != "STK" or one.contract.primaryExchange in US_PRIMARY,
    )
    for prefers in preferences:
        if len(found) > 1:
            found = [one for one in found if prefers(one)] or found
    return found[0] if len(found) == 1 else None


def describe(found: Found) -> str:
    contract = found.contract
    words = (
        contract.localSymbol or contract.symbol,
        contract.primaryExchange or contract.exchange,
        contract.currency,
        contract.lastTradeDateOrContractMonth,
        contract.multiplier,
    )
    return f"{' '.join(word for word in words if word)} (conId {contract.conId})"


def _product(details: ContractDetails, kind: str) -> Product:
    if kind == "STK":
        return STOCKTYPE2PRODUCT.get(details.stockType.upper(), Product.EQUITY)
    return SECTYPE2PRODUCT.get(kind, Product.EQUITY)


def _lot(details: ContractDetails, kind: str) -> Decimal:
    """The board lot: whole shares at least, also where the broker permits fractions (design, section 6)."""
    lot = max(exact(details.minSize), exact(details.sizeIncrement))
    if kind in STOCKS:
        return max(lot, Decimal(1))
    return exact(details.sizeIncrement) or lot or Decimal(1)


def _add_option(contract: ContractData, instrument: Instrument) -> None:
    row = instrument.contract
    contract.option_strike = float(row.strike)
    contract.option_index = str(row.strike)
    contract.option_underlying = f"{row.symbol}_{row.lastTradeDateOrContractMonth}"
    contract.option_portfolio = f"{row.symbol}_O"
    contract.option_type = RIGHT2OPTION.get(row.right[:1])
    try:
        day = datetime.strptime(row.lastTradeDateOrContractMonth, "%Y%m%d")  # noqa: DTZ007  the zone is added here
    except ValueError:
        return
    contract.option_expiry = day.replace(tzinfo=timezone.utc)


def _zone(text: str) -> ZoneInfo:
    """The zone of a contract's hours; old builds write ``EST (Eastern Standard Time)``."""
    for name in (text, text.partition(" (")[0]):
        try:
            return ZoneInfo(ZONE_NAMES.get(name, name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return ZoneInfo("UTC")


def exact(number: float | str) -> Decimal:
    """A number as TWS wrote it; zero for one that is unset, or none."""
    try:
        exact = Decimal(str(number or 0))
    except ArithmeticError:
        return Decimal(0)
    return exact if exact.is_finite() and abs(exact) < Decimal(10) ** 15 else Decimal(0)
