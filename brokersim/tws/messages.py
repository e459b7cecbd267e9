"""What TWS says about orders and fills, field by field (tws-api 6.5, 7): pure functions from a ticket to fields.

Values are those of a real server: ``None`` in the delta-neutral order type with the fields that it brings along
(openOrder has 135 fields then, completedOrder 100), ``?`` as right, the largest double for unset prices and margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokersim.truth import plain
from brokersim.tws.framing import MAX_DOUBLE, MAX_INT, MAX_LONG, Field
from brokersim.tws.hub import ADVISOR
from brokersim.tws.tickets import Execution, Ticket

Fields = tuple[Field, ...]

WIRE_TYPES: dict[str, str] = {"MARKET": "MKT", "LIMIT": "LMT", "STOP": "STP"}
ACTIONS: dict[str, str] = {"LONG": "BUY", "SHORT": "SELL"}
SIDES: dict[str, str] = {"LONG": "BOT", "SHORT": "SLD"}
REMOVED_LIQUIDITY = 2


@dataclass(frozen=True)
class Preview:
    """The numbers of a what-if order, in the account's base currency (US dollars)."""

    init_margin_before: Decimal
    maint_margin_before: Decimal
    equity_before: Decimal
    init_margin_change: Decimal
    maint_margin_change: Decimal
    equity_change: Decimal
    commission: Decimal

    def fields(self) -> Fields:
        """Before, change, after; commission, its bounds and currency (openOrder 86 to 98)."""
        before = (self.init_margin_before, self.maint_margin_before, self.equity_before)
        change = (self.init_margin_change, self.maint_margin_change, self.equity_change)
        after = tuple(one + other for one, other in zip(before, change, strict=True))
        return (*before, *change, *after, "", self.commission, self.commission, "USD")


NO_PREVIEW: Fields = (*(MAX_DOUBLE,) * 9, "", "", "", "")


def open_order(
    ticket: Ticket, status: str, *, preview: Preview | None = None, what_if: bool = False, warning: str = ""
) -> Fields:
    """Message 5: the order as it is now. ``status`` is the wire's word; ``preview`` the answer to a what-if order."""
    form, order = ticket.form, ticket.order
    text = form.text
    return (
        *_row(5, ticket.order_id, *ticket.listed.c11(), ACTIONS[order.direction], order.volume, _wire_type(ticket)),
        *(*_prices(ticket), form.tif, form.oca_group, order.account, "", 0, form.order_ref),
        *(ticket.client_id, ticket.perm_id, form.outside_rth, form.flag("hidden"), text("discretionaryAmt", "0")),
        *(text("goodAfterTime"), f"{ticket.perm_id}.0/{order.account}/{order.volume}"),
        *(*_allocation(ticket), text("modelCode"), text("goodTillDate"), "", text("percentOffset"), ""),
        *(0, "", -1, text("auctionStrategy", "0"), text("startingPrice"), text("stockRefPrice"), text("delta")),
        *(text("stockRangeLower"), text("stockRangeUpper"), text("displaySize", MAX_INT), form.flag("blockOrder")),
        *(form.flag("sweepToFill"), form.flag("allOrNone"), text("minQty", MAX_INT), text("ocaType", "3")),
        *(False, False, "", form.parent_id, text("triggerMethod", "0"), "", 0),
        *("None", "", 0, "", "", "", "?", 0, 0, ""),
        *(False, 0, text("trailStopPrice"), text("trailingPercent"), "", ""),
        *("", 0, 0, 0, MAX_INT, MAX_INT, ""),
        *("", False, text("clearingAccount"), text("clearingIntent", "IB"), form.flag("notHeld"), False),
        *(*_algo(ticket), form.flag("solicited"), what_if, status, *(preview.fields() if preview else NO_PREVIEW)),
        *(warning, form.flag("randomizeSize"), form.flag("randomizePrice"), *_peg_bench(ticket), *_conditions(ticket)),
        *(text("adjustedOrderType", "None"), text("triggerPrice", MAX_DOUBLE), text("trailStopPrice", MAX_DOUBLE)),
        *(text("lmtPriceOffset", MAX_DOUBLE), text("adjustedStopPrice", MAX_DOUBLE)),
        *(text("adjustedStopLimitPrice", MAX_DOUBLE), text("adjustedTrailingAmount", MAX_DOUBLE)),
        *(text("adjustableTrailingUnit", "0"), text("softDollarName"), text("softDollarValue"), ""),
        *(text("cashQty", "0"), True, form.flag("isOmsContainer"), form.flag("discretionaryUpToLimitPrice")),
        *(form.flag("usePriceMgmtAlgo"), text("duration"), text("postToAts"), form.flag("autoCancelParent")),
        *("", "", "", "", ""),
    )


def completed_order(ticket: Ticket, status: str, completed_at: str, how: str) -> Fields:
    """Message 101: an order that has ended. A filled one has a total quantity of 0 and its size as filled quantity:
    the original size is the sum (tws-api 7.2)."""
    form, order = ticket.form, ticket.order
    text = form.text
    return (
        *_row(101, *ticket.listed.c11(), ACTIONS[order.direction], order.left, _wire_type(ticket)),
        *(*_prices(ticket), form.tif, form.oca_group, order.account, "", 0, form.order_ref),
        *(ticket.perm_id, form.outside_rth, form.flag("hidden"), text("discretionaryAmt", "0")),
        *(text("goodAfterTime"), *_allocation(ticket), text("modelCode")),
        *(text("goodTillDate"), "", text("percentOffset"), ""),
        *(0, "", -1, text("startingPrice"), text("stockRefPrice"), text("delta")),
        *(text("stockRangeLower"), text("stockRangeUpper"), text("displaySize", MAX_INT), form.flag("sweepToFill")),
        *(form.flag("allOrNone"), text("minQty", MAX_INT), text("ocaType", "3"), text("triggerMethod", "0"), "", 0),
        *("None", "", 0, 0, 0, ""),
        *(False, 0, text("trailStopPrice"), text("trailingPercent"), "", 0, 0, 0, MAX_INT, MAX_INT, ""),
        *("", text("clearingAccount"), text("clearingIntent", "IB"), form.flag("notHeld"), False),
        *(*_algo(ticket), form.flag("solicited"), status, form.flag("randomizeSize"), form.flag("randomizePrice")),
        *(*_peg_bench(ticket), *_conditions(ticket)),
        *(text("trailStopPrice", MAX_DOUBLE), text("lmtPriceOffset", MAX_DOUBLE), text("cashQty", "0"), True),
        *(form.flag("isOmsContainer"), "", order.traded, 0, form.flag("autoCancelParent"), "", False, False),
        *(MAX_LONG, completed_at, how, "", "", "", "", ""),
    )


def order_status(ticket: Ticket, status: str) -> Fields:
    """Message 3: state and cumulative quantity; also after a partial fill the status is ``Submitted`` (tws-api 8.2)."""
    order = ticket.order
    filled, remaining = order.traded, order.left
    return (
        *(3, ticket.order_id, status, filled, remaining, average(ticket.average_price), ticket.perm_id),
        *(ticket.form.parent_id, plain(ticket.last_price), ticket.client_id, ticket.why_held, 0),
    )


def exec_details(execution: Execution, time: str, req_id: int = -1) -> Fields:
    """Message 11: one fill. ``req_id`` -1 when it has just happened; ``time`` as TWS is set to write it."""
    fill, ticket = execution.fill, execution.ticket
    return (
        *_row(11, req_id, ticket.order_id, *ticket.listed.c11(execution.venue, strike="0.0", right="")),
        *(fill.id, time, fill.account, execution.venue, SIDES[fill.direction], fill.volume, plain(fill.price)),
        *(ticket.perm_id, ticket.client_id, 0, fill.cumulative, average(execution.average_price)),
        *(ticket.form.order_ref, "", "", "", REMOVED_LIQUIDITY, False),
    )


def commission_report(execution: Execution) -> Fields:
    """Message 59: what a fill cost, in the contract's currency, and what it realised (unset when it opened)."""
    realised = MAX_DOUBLE if execution.realised is None else plain(execution.realised)
    currency = execution.ticket.listed.currency
    return (59, 1, execution.fill.id, plain(execution.fill.fee), currency, realised, MAX_DOUBLE, "")


def average(price: Decimal) -> str:
    """An average price: as many digits as it takes, at most eight places."""
    return plain(round(price, 8))


def _row(*fields: Field) -> Fields:
    return fields


def _wire_type(ticket: Ticket) -> str:
    """A stop order stays what it was ordered as, also when it has become a limit order at the desk."""
    if ticket.form.order_type == "STP LMT":
        return "STP LMT"
    return WIRE_TYPES[ticket.order.type]


def _prices(ticket: Ticket) -> tuple[str, str]:
    """lmtPrice and auxPrice, ``0.0`` where the type has none."""
    order = ticket.order
    if ticket.form.order_type == "STP LMT":
        return plain(ticket.form.limit or Decimal(0)), plain(ticket.form.aux or Decimal(0))
    limit = plain(order.price) if order.type == "LIMIT" else "0.0"
    aux = plain(order.price) if order.type == "STOP" else "0.0"
    return limit, aux


def _allocation(ticket: Ticket) -> Fields:
    """faGroup, faMethod, faPercentage of an advisor's order for a group."""
    text = ticket.form.text
    if ticket.order.account != ADVISOR:
        return ("", "", "")
    return (text("faGroup"), text("faMethod"), text("faPercentage"))


def _algo(ticket: Ticket) -> Fields:
    strategy = ticket.form.text("algoStrategy")
    if not strategy:
        return ("",)
    return (strategy, len(ticket.form.algo_params), *_flat(ticket.form.algo_params))


def _peg_bench(ticket: Ticket) -> Fields:
    return (0, False, "", "", "") if ticket.form.order_type == "PEG BENCH" else ()


def _conditions(ticket: Ticket) -> Fields:
    form = ticket.form
    if not form.conditions:
        return (0,)
    flags = (form.flag("conditionsIgnoreRth"), form.flag("conditionsCancelOrder"))
    return (len(form.conditions), *_flat(form.conditions), *flags)


def _flat(rows: Sequence[Sequence[Any]]) -> Fields:
    return tuple(value for row in rows for value in row)
