"""Contract details, symbol search, market rules and option chains (tws-api 4.2, 6.2)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial

from brokersim.prices import bands_of
from brokersim.sessions import TradingDays, day_spans, segment_at, to_ms
from brokersim.tws.client import Client
from brokersim.tws.contracts import ISINS, SEC_TYPES, ContractQuery, Listed
from brokersim.tws.framing import MAX_INT, Field, Reader
from brokersim.tws.hours import always_open, real_hours
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.times import zone_text

NO_SECURITY = "No security definition has been found for the request"
NO_SEC_TYPE = "Error validating request.-'bH' : cause - Please enter a valid security type"
NO_RULE = "Error validating request.-'c7' : cause - Invalid market rule id"

MARKET_RULES: dict[tuple[str, str], int] = {
    ("SMART", "stock"): 26,
    ("SMART", "etf"): 26,
    ("SMART", "index"): 26,
    ("SMART", "option"): 109,
    ("SEHK", "stock"): 1529,
    ("SEHK", "index"): 1529,
    ("SEHK", "etf"): 1530,
    ("SSE", "stock"): 1531,
    ("SZSE", "stock"): 1531,
    ("SSE", "etf"): 1532,
    ("SZSE", "etf"): 1532,
    ("IDEALPRO", "forex"): 239,
    ("CME", "future"): 67,
    ("HKFE", "future"): 1533,
}
"""(vn.py exchange, kind) -> market rule id."""
CENT = Decimal("0.01")
DOLLAR = Decimal(1)

ORDER_TYPES = (
    "ACTIVETIM,ADJUST,ALERT,ALLOC,AVGCOST,BASKET,COND,CONDORDER,DAY,DEACT,GAT,GTC,GTD,GTT,IOC,LIT,LMT,LOC,MIT,MKT,"
    "MOC,NGCOMB,NONALGO,OCA,OPG,OUTRTH,SCALE,STP,STPLMT,TRAIL,TRAILLIT,TRAILLMT,WHATIF"
)
STOCK_TYPES = {"stock": "COMMON", "etf": "ETF"}
AGG_GROUPS = {"STK": "1", "CASH": "4", "OPT": "2"}
FUTURE_LAST_TIME = {"CME": "08:30", "HKFE": "16:00"}
SMART_COMPONENTS = (("A", "AMEX"), ("N", "NYSE"), ("P", "ARCA"), ("Q", "NASDAQ"), ("V", "IEX"), ("Z", "BATS"))
DEPTH_EXCHANGES = (
    ("NASDAQ", "STK", "", "Deep2"),
    ("ARCA", "STK", "", "Deep"),
    ("SEHK", "STK", "", "Deep"),
    ("CME", "FUT", "", "Deep"),
    ("HKFE", "FUT", "", "Deep"),
    ("IDEALPRO", "CASH", "", "Deep"),
)
OPTION_EXCHANGES = ("SMART", "AMEX", "CBOE")
MAX_MATCHES = 16


class DetailsRoom:
    """Everything about contracts that is no price."""

    def handlers(self) -> dict[int, Handler]:
        return {
            9: _contract_details,
            78: _option_parameters,
            81: _matching_symbols,
            82: _depth_exchanges,
            83: _smart_components,
            91: _market_rule,
        }

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""


def min_tick(hub: Hub, listed: Listed) -> Decimal:
    """The finest increment of a contract."""
    return market_rule(hub, listed)[0][1]


def market_rule(hub: Hub, listed: Listed) -> list[tuple[Decimal, Decimal]]:
    """(low edge, increment), from the lowest, by the rules of the clock's date."""
    instrument = listed.instrument
    if instrument.exchange == "SMART" and instrument.kind != "option":
        return [(Decimal(0), CENT)]
    low = Decimal(0)
    rule = []
    for bound, tick in bands_of(instrument, hub.clock.now().date()):
        rule.append((low, tick))
        low = bound
    return rule


def _hours(hub: Hub, listed: Listed, *, liquid: bool) -> str:
    instrument, now = listed.instrument, hub.clock.now()
    if hub.clock.mode == "wall":
        return always_open(instrument, now)
    return real_hours(instrument, now, partial(_is_open, hub, listed), liquid=liquid)


def _is_open(hub: Hub, listed: Listed, on: date) -> bool:
    """Does a contract trade on a date: a trading day, unless the market is closed now although its hours say open."""
    instrument, now = listed.instrument, to_ms(hub.clock.now())
    if not TradingDays.of(instrument.exchange).is_open(on):
        return False
    if segment_at(day_spans(instrument, on), now) == "closed":
        return True
    return hub.market.segment(listed.vt_symbol) != "closed"


# -- contract details --------------------------------------------------------------------------------------------


def _contract_details(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    request_id = reader.integer("reqId")
    query = ContractQuery.read(reader)
    reader.flag("includeExpired")
    query = replace(query, sec_id_type=reader.text("secIdType"), sec_id=reader.text("secId"))
    if query.sec_type not in SEC_TYPES and not (query.con_id and not query.sec_type):
        client.error(request_id, 321, NO_SEC_TYPE)
        return
    found = hub.contracts.resolve(query)
    if not found:
        client.error(request_id, 200, NO_SECURITY)
        return
    for listed in found:
        client.send(10, request_id, *_details(hub, listed))
    client.send(52, 1, request_id)


def _details(hub: Hub, listed: Listed) -> list[Field]:
    """The fields behind the request id (tws-api 6.2)."""
    instrument = listed.instrument
    isin = ISINS.get(listed.vt_symbol)
    rule = MARKET_RULES[instrument.exchange, instrument.kind]
    venues = listed.venues
    if instrument.exchange == "SEHK" and hub.switches.hk_smart:
        venues = (*venues, "SMART")
    return [
        listed.symbol,
        listed.sec_type,
        _last_trade_date(listed),
        listed.strike or "0",
        listed.right,
        listed.exchange,
        listed.currency,
        listed.local_symbol,
        listed.trading_class,  # market name
        listed.trading_class,
        listed.con_id,
        min_tick(hub, listed),
        listed.multiplier,
        ORDER_TYPES,
        ",".join(venues),
        1,  # price magnifier
        listed.under_con_id,
        instrument.name_en,
        listed.primary_exchange,
        listed.expiry[:6],
        "",  # industry
        "",  # category
        "",  # subcategory
        zone_text(instrument),
        _hours(hub, listed, liquid=False),
        _hours(hub, listed, liquid=True),
        "",  # evRule
        0,  # evMultiplier
        *((1, "ISIN", isin) if isin else (0,)),
        AGG_GROUPS.get(listed.sec_type, MAX_INT),
        listed.under_symbol,
        listed.under_sec_type,
        ",".join([str(rule)] * len(venues)),
        listed.expiry,
        STOCK_TYPES.get(instrument.kind, "") if listed.sec_type == "STK" else "",
        *_sizes(hub, listed),
    ]


def _last_trade_date(listed: Listed) -> str:
    time = FUTURE_LAST_TIME.get(listed.instrument.exchange) if listed.sec_type in ("FUT", "CONTFUT") else None
    return f"{listed.expiry} {time} {zone_text(listed.instrument)}" if time else listed.expiry


def _sizes(hub: Hub, listed: Listed) -> tuple[Field, Field, Field]:
    """minSize, sizeIncrement, suggestedSizeIncrement."""
    lot = listed.instrument.lot
    if listed.sec_type != "STK":
        return lot, lot, lot
    if listed.instrument.exchange == "SMART":
        return "0.0001", "0.0001", 100
    return (lot, lot, lot) if hub.switches.hk_lot_in_details else (1, 1, lot)


# -- the others --------------------------------------------------------------------------------------------------


def _matching_symbols(hub: Hub, client: Client, reader: Reader) -> None:
    request_id = reader.integer("reqId")
    found = hub.contracts.matching(reader.text("pattern"))[:MAX_MATCHES]
    fields: list[Field] = []
    for listed in found:
        derivatives = ("OPT",) if hub.contracts.options_on(listed.symbol) else ()
        fields += [listed.con_id, listed.symbol, listed.sec_type, listed.primary_exchange, listed.currency]
        fields += [len(derivatives), *derivatives, listed.instrument.name_en, ""]
    client.send(79, request_id, len(found), *fields)


def _option_parameters(hub: Hub, client: Client, reader: Reader) -> None:
    request_id = reader.integer("reqId")
    symbol = reader.text("underlyingSymbol").upper()
    future_exchange = reader.text("futFopExchange")
    reader.skip()
    con_id = reader.integer("underlyingConId")
    options = [one for one in hub.contracts.options_on(symbol) if one.under_con_id == con_id and not future_exchange]
    for trading_class, multiplier in sorted({(one.trading_class, one.multiplier) for one in options}):
        chain = [one for one in options if (one.trading_class, one.multiplier) == (trading_class, multiplier)]
        expiries = sorted({one.expiry for one in chain})
        strikes = sorted({Decimal(one.strike) for one in chain})
        chain_fields: list[Field] = [len(expiries), *expiries, len(strikes), *strikes]
        for exchange in OPTION_EXCHANGES:
            client.send(75, request_id, exchange, con_id, trading_class, multiplier, *chain_fields)
    client.send(76, request_id)


def _market_rule(hub: Hub, client: Client, reader: Reader) -> None:
    rule_id = reader.integer("marketRuleId")
    for listed in hub.contracts:
        if MARKET_RULES[listed.instrument.exchange, listed.instrument.kind] == rule_id:
            rule = market_rule(hub, listed)
            client.send(93, rule_id, len(rule), *(field for step in rule for field in step))
            return
    client.error(-1, 321, NO_RULE)


def _smart_components(hub: Hub, client: Client, reader: Reader) -> None:
    request_id = reader.integer("reqId")
    fields: list[Field] = []
    for bit, (letter, exchange) in enumerate(SMART_COMPONENTS):
        fields += [bit, exchange, letter]
    client.send(82, request_id, len(SMART_COMPONENTS), *fields)


def _depth_exchanges(hub: Hub, client: Client, reader: Reader) -> None:
    fields: list[Field] = [field for row in DEPTH_EXCHANGES for field in (*row, MAX_INT)]
    client.send(80, len(DEPTH_EXCHANGES), *fields)
