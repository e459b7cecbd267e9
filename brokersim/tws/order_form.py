"""placeOrder as it arrives: all of its fields in order, with the groups that stand only under their condition (tws-api
5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import FieldError, Reader

BEFORE_LEGS = (
    *("openClose", "origin", "orderRef", "transmit", "parentId", "blockOrder", "sweepToFill", "displaySize"),
    *("triggerMethod", "outsideRth", "hidden"),
)
BEFORE_DELTA_NEUTRAL = (
    *("sharesAllocation", "discretionaryAmt", "goodAfterTime", "goodTillDate", "faGroup", "faMethod", "faPercentage"),
    *("modelCode", "shortSaleSlot", "designatedLocation", "exemptCode", "ocaType", "rule80A", "settlingFirm"),
    *("allOrNone", "minQty", "percentOffset", "eTradeOnly", "firmQuoteOnly", "nbboPriceCap", "auctionStrategy"),
    *("startingPrice", "stockRefPrice", "delta", "stockRangeLower", "stockRangeUpper"),
    *("overridePercentageConstraints", "volatility", "volatilityType", "deltaNeutralOrderType"),
    "deltaNeutralAuxPrice",
)
DELTA_NEUTRAL = (
    *("deltaNeutralConId", "deltaNeutralSettlingFirm", "deltaNeutralClearingAccount", "deltaNeutralClearingIntent"),
    *("deltaNeutralOpenClose", "deltaNeutralShortSale", "deltaNeutralShortSaleSlot"),
    "deltaNeutralDesignatedLocation",
)
BEFORE_SCALE = (
    *("continuousUpdate", "referencePriceType", "trailStopPrice", "trailingPercent"),
    *("scaleInitLevelSize", "scaleSubsLevelSize", "scalePriceIncrement"),
)
SCALE = (
    *("scalePriceAdjustValue", "scalePriceAdjustInterval", "scaleProfitOffset", "scaleAutoReset"),
    *("scaleInitPosition", "scaleInitFillQty", "scaleRandomPercent"),
)
BEFORE_HEDGE = ("scaleTable", "activeStartTime", "activeStopTime", "hedgeType")
AFTER_HEDGE = ("optOutSmartRouting", "clearingAccount", "clearingIntent", "notHeld")
AFTER_ALGO = ("algoId", "whatIf", "orderMiscOptions", "solicited", "randomizeSize", "randomizePrice")
PEG_BENCH = (
    *("referenceContractId", "isPeggedChangeAmountDecrease", "peggedChangeAmount", "referenceChangeAmount"),
    "referenceExchangeId",
)
TAIL = (
    *("adjustedOrderType", "triggerPrice", "lmtPriceOffset", "adjustedStopPrice", "adjustedStopLimitPrice"),
    *("adjustedTrailingAmount", "adjustableTrailingUnit", "extOperator", "softDollarName", "softDollarValue"),
    *("cashQty", "mifid2DecisionMaker", "mifid2DecisionAlgo", "mifid2ExecutionTrader", "mifid2ExecutionAlgo"),
    *("dontUseAutoPriceForHedge", "isOmsContainer", "discretionaryUpToLimitPrice", "usePriceMgmtAlgo"),
    *("duration", "postToAts", "autoCancelParent", "advancedErrorOverride", "manualOrderTime"),
)
LEG_FIELDS = 8
CONDITION_FIELDS: dict[int, int] = {1: 6, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5}
"""Condition type -> fields after the type, the conjunction among them."""

INTEGERS = frozenset(
    {
        *("origin", "parentId", "displaySize", "triggerMethod", "shortSaleSlot", "exemptCode", "ocaType", "minQty"),
        *("auctionStrategy", "volatilityType", "referencePriceType", "scaleInitLevelSize", "scaleSubsLevelSize"),
        *("adjustableTrailingUnit", "duration", "postToAts"),
    }
)
NUMBERS = frozenset(
    {
        *("discretionaryAmt", "percentOffset", "nbboPriceCap", "startingPrice", "stockRefPrice", "delta"),
        *("stockRangeLower", "stockRangeUpper", "volatility", "deltaNeutralAuxPrice", "trailStopPrice"),
        *("trailingPercent", "scalePriceIncrement", "triggerPrice", "lmtPriceOffset", "adjustedStopPrice"),
        *("adjustedStopLimitPrice", "adjustedTrailingAmount", "cashQty"),
    }
)
UNSET = 2**31 - 1
"""How an unset whole number is written, where its field is not left empty (tws-api 3)."""


@dataclass(frozen=True)
class OrderForm:
    """One placeOrder. ``quantity``, ``limit`` and ``aux`` are as written (shares; the contract's currency), None when
    unset; ``fields`` is every plain field's text by the API's name, unset ones empty."""

    order_id: int
    query: ContractQuery
    action: str
    quantity: Decimal | None
    order_type: str
    limit: Decimal | None
    aux: Decimal | None
    tif: str
    oca_group: str
    account: str
    fields: Mapping[str, str]
    algo_params: tuple[tuple[str, str], ...] = ()
    conditions: tuple[tuple[str, ...], ...] = ()

    def text(self, name: str, default: str = "") -> str:
        """A field's text; ``default`` where it is empty."""
        return self.fields.get(name) or default

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true")

    @property
    def transmit(self) -> bool:
        return self.flag("transmit")

    @property
    def what_if(self) -> bool:
        return self.flag("whatIf")

    @property
    def outside_rth(self) -> bool:
        return self.flag("outsideRth")

    @property
    def order_ref(self) -> str:
        return self.text("orderRef")

    @property
    def parent_id(self) -> int:
        return int(self.text("parentId", "0"))


def read_order(reader: Reader) -> OrderForm:
    """The message behind its id, at server version 178. :class:`FieldError` names the field that is missing or
    unreadable."""
    order_id = reader.integer("orderId")
    query = ContractQuery.read(reader)
    reader.skip(2)  # secIdType, secId: an order is placed by its contract
    action = reader.text("action").upper()
    quantity = reader.decimal("totalQuantity")
    order_type = _spelt(reader.text("orderType"))
    limit = reader.decimal("lmtPrice")
    aux = reader.decimal("auxPrice")
    tif = reader.text("tif").upper() or "DAY"
    oca_group = reader.text("ocaGroup")
    account = reader.text("account")
    fields: dict[str, str] = {}
    _take(reader, fields, BEFORE_LEGS)
    if query.sec_type == "BAG":
        reader.skip(LEG_FIELDS * reader.count("comboLegs", LEG_FIELDS))
        reader.skip(reader.count("orderComboLegs"))
        reader.pairs("smartComboRoutingParams")
    _take(reader, fields, BEFORE_DELTA_NEUTRAL)
    if fields["deltaNeutralOrderType"]:
        _take(reader, fields, DELTA_NEUTRAL)
    _take(reader, fields, BEFORE_SCALE)
    if Decimal(fields["scalePriceIncrement"] or 0) > 0:
        _take(reader, fields, SCALE)
    _take(reader, fields, BEFORE_HEDGE)
    if fields["hedgeType"]:
        _take(reader, fields, ("hedgeParam",))
    _take(reader, fields, AFTER_HEDGE)
    if reader.flag("deltaNeutralContract"):
        reader.skip(3)
    _take(reader, fields, ("algoStrategy",))
    algo_params = tuple(reader.pairs("algoParams")) if fields["algoStrategy"] else ()
    _take(reader, fields, AFTER_ALGO)
    if order_type == "PEG BENCH":
        _take(reader, fields, PEG_BENCH)
    conditions = _conditions(reader, fields)
    _take(reader, fields, TAIL)
    return OrderForm(
        order_id=order_id,
        query=query,
        action=action,
        quantity=quantity,
        order_type=order_type,
        limit=limit,
        aux=aux,
        tif=tif,
        oca_group=oca_group,
        account=account,
        fields=fields,
        algo_params=algo_params,
        conditions=conditions,
    )


def _take(reader: Reader, fields: dict[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if name in INTEGERS:
            whole = reader.integer(name, UNSET)
            fields[name] = "" if whole == UNSET else str(whole)
        elif name in NUMBERS:
            number = reader.decimal(name)
            fields[name] = "" if number is None else format(number, "f")
        else:
            fields[name] = reader.text(name)


def _conditions(reader: Reader, fields: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    conditions = []
    for _ in range(reader.count("conditions", 4)):
        kind = reader.integer("condition type")
        if kind not in CONDITION_FIELDS:
            raise FieldError("condition type", f"Unable to parse data for field condition type: '{kind}'")
        conditions.append((str(kind), *(reader.text("condition") for _ in range(CONDITION_FIELDS[kind]))))
    if conditions:
        _take(reader, fields, ("conditionsIgnoreRth", "conditionsCancelOrder"))
    return tuple(conditions)


def _spelt(order_type: str) -> str:
    """An order type as the reference spells it: clients write ``STPLMT`` and ``STP LMT`` alike (tws-api 17)."""
    return SPELLINGS.get(order_type.upper().replace(" ", ""), order_type.upper())


SPELLINGS: dict[str, str] = {
    name.replace(" ", ""): name
    for name in (
        *("MKT", "LMT", "STP", "STP LMT", "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "MTL", "REL"),
        *("MKT PRT", "STP PRT", "MIDPRICE", "PEG MKT", "PEG MID", "PEG PRI", "PEG BEST", "PEG BENCH", "VOL", "BOX"),
        *("TOP", "SNAP MKT", "SNAP MID", "SNAP PRI"),
    )
}
"""Every order type of the reference, by its spelling without blanks."""
