"""Option computations: the greeks beside an option's quotes, and those that a client asks for (tws-api 4.3, 6.3)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from brokersim.model import Quote
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery, Listed
from brokersim.tws.framing import Field, Reader
from brokersim.tws.greeks import YEAR_S, Greeks, OptionTerms
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.subscriptions import find_contract

BID_COMPUTATION, ASK_COMPUTATION, LAST_COMPUTATION, MODEL_COMPUTATION, CUSTOM_COMPUTATION = 10, 11, 12, 13, 53
NOT_COMPUTED: tuple[Field, ...] = (-1, -2, -1, -1, -2, -2, -2, -2)
LAST_HOUR = 16
"""Options end at 16:00 of their last day."""
PRICE_BASED = 1
NO_OPTION = "Error validating request.-'bV' : cause - The contract is no option"
NO_VALUE = "Error validating request.-'bV' : cause - No value can be computed"


def terms_of(hub: Hub, listed: Listed) -> OptionTerms | None:
    """The terms of an option that has not ended; None for anything else."""
    if listed.sec_type != "OPT":
        return None
    end = datetime.strptime(listed.expiry, "%Y%m%d").replace(hour=LAST_HOUR, tzinfo=ZoneInfo(listed.instrument.zone))
    years = (end - hub.clock.now()).total_seconds() / YEAR_S
    return OptionTerms(float(listed.strike), years, listed.right == "C") if years > 0 else None


def underlying_price(hub: Hub, listed: Listed) -> float | None:
    """The last price of an option's underlying, where that is known."""
    under = hub.contracts.by_con_id(listed.under_con_id)
    return float(hub.market.quote(under.vt_symbol).last) if under is not None else None


def computations(hub: Hub, listed: Listed, quote: Quote) -> dict[int, tuple[Field, ...]]:
    """The fields of message 21 behind its tick type, by tick type: for bid, ask, last and the model."""
    terms, under = terms_of(hub, listed), underlying_price(hub, listed)
    bid = quote.bids[0].price if quote.bids else None
    ask = quote.asks[0].price if quote.asks else None
    middle = (bid + ask) / 2 if bid and ask else None
    prices = {
        BID_COMPUTATION: bid,
        ASK_COMPUTATION: ask,
        LAST_COMPUTATION: quote.last if quote.open else None,
        MODEL_COMPUTATION: middle,
    }
    rows = {}
    for tick, price in prices.items():
        greeks = terms.implied(under, float(price)) if terms and under and price else None
        rows[tick] = _fields(greeks)
    return rows


def _fields(greeks: Greeks | None) -> tuple[Field, ...]:
    """tickAttrib, impliedVol, delta, optPrice, pvDividend, gamma, vega, theta, undPrice."""
    if greeks is None:
        return (PRICE_BASED, *NOT_COMPUTED)
    numbers = (greeks.volatility, greeks.delta, greeks.price, 0.0, greeks.gamma, greeks.vega, greeks.theta)
    return (PRICE_BASED, *(round(number, 8) for number in numbers), greeks.underlying)


class OptionRoom:
    """Requests 54 to 57; each is answered once, so there is nothing to cancel."""

    def handlers(self) -> dict[int, Handler]:
        return {54: _implied_volatility, 55: _option_price, 56: _cancel, 57: _cancel}

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""


def _implied_volatility(hub: Hub, client: Client, reader: Reader) -> None:
    request_id, terms = _asked(hub, client, reader)
    price, under = reader.decimal("optionPrice"), reader.decimal("underPrice")
    if terms is not None:
        known = _is_usable(price) and _is_usable(under)
        _answer(client, request_id, terms.implied(float(under or 0), float(price or 0)) if known else None)


def _option_price(hub: Hub, client: Client, reader: Reader) -> None:
    request_id, terms = _asked(hub, client, reader)
    volatility, under = reader.decimal("volatility"), reader.decimal("underPrice")
    if terms is not None:
        known = _is_usable(volatility) and _is_usable(under)
        _answer(client, request_id, terms.value(float(under or 0), float(volatility or 0)) if known else None)


def _asked(hub: Hub, client: Client, reader: Reader) -> tuple[int, OptionTerms | None]:
    reader.skip()
    request_id = reader.integer("reqId")
    listed = find_contract(hub, client, request_id, ContractQuery.read(reader))
    terms = terms_of(hub, listed) if listed is not None else None
    if listed is not None and terms is None:
        client.error(request_id, 321, NO_OPTION)
    return request_id, terms


def _is_usable(number: Decimal | None) -> bool:
    return number is not None and 0 < number < 10**9 and number.adjusted() > -9


def _answer(client: Client, request_id: int, greeks: Greeks | None) -> None:
    if greeks is None:
        client.error(request_id, 321, NO_VALUE)
    else:
        client.send(21, request_id, CUSTOM_COMPUTATION, *_fields(greeks))


def _cancel(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    reader.integer("reqId")
