"""What TWS accepts as an order, checked before it goes to the desk, and the code of each refusal (tws-api 9.2, 17)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brokersim.model import ZERO, Direction, OrderType
from brokersim.order_form import WHOLE_LOT_BUY_EXCHANGES, WHOLE_LOT_EXCHANGES
from brokersim.tws.advisor import spread
from brokersim.tws.contracts import Listed
from brokersim.tws.hub import ADVISOR, Hub
from brokersim.tws.order_form import SPELLINGS, OrderForm
from brokersim.tws.times import BadTime, parse_time

DIRECTIONS: dict[str, Direction] = {"BUY": "LONG", "SELL": "SHORT"}
TYPES: dict[str, OrderType] = {"MKT": "MARKET", "LMT": "LIMIT", "STP": "STOP", "STP LMT": "STOP"}
"""The order types that the simulated broker works; other types of the reference answer 387."""
TIFS = frozenset({"DAY", "GTC", "IOC", "GTD", "FOK"})
OTHER_TIFS = frozenset({"OPG", "DTC", "AUC"})
AT_ONCE = frozenset({"IOC", "FOK"})
LASTING_TIFS = frozenset({"GTC", "GTD"})
REFUSED_CODES: dict[str, int] = {
    "funds": 201,
    "short": 201,
    "unknown": 460,
    "session": 201,
    "invalid": 201,
    "terminal": 161,
}
REFUSED_TEXTS: dict[str, str] = {
    "funds": "Order rejected - reason:Your order is not accepted. Your available funds are not sufficient for it.",
    "short": "Order rejected - reason:No short sales are allowed in this account.",
    "unknown": "No trading permissions",
    "session": "Order rejected - reason:The exchange is closed.",
    "invalid": "Order rejected - reason:Invalid order.",
    "terminal": "Cancel attempted when order is not in a cancellable state.",
}
"""The broker's code and words for the desk's refusals."""
FRACTION = 10243
MAX_QUANTITY = 100_000_000
MAX_PRICE = 1_000_000_000


class Rejection(Exception):
    """TWS refuses a request about an order; ``code`` and ``text`` of the error message, which names the order."""

    def __init__(self, code: int, text: str, reject_json: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.reject_json = reject_json


def invalid(letters: str, cause: str) -> Rejection:
    """Error 321 as TWS words it."""
    return Rejection(321, f"Error validating request.-'{letters}' : cause - {cause}")


READ_ONLY = "The API interface is currently in Read-Only mode."


@dataclass(frozen=True)
class Wanted:
    """An acceptable order in the desk's terms. ``price`` is the limit or, for STOP, the stop; 0 for MARKET."""

    listed: Listed
    account: str
    direction: Direction
    type: OrderType
    price: Decimal
    volume: int
    expires: datetime | None
    shares: tuple[tuple[str, int], ...] = ()
    """Whose it is, where it is an advisor's order for a group."""


def check(hub: Hub, form: OrderForm) -> Wanted:
    """The order that ``form`` wants; :class:`Rejection` with the code of whatever is wrong with it."""
    listed = _listed(hub, form)
    account = _account(hub, form)
    direction = DIRECTIONS.get(form.action)
    if direction is None:
        raise invalid("bO", f"Invalid order action {form.action!r}")
    kind = _type(form)
    _time_in_force(form)
    if form.conditions or form.text("goodAfterTime"):
        attribute = "conditions" if form.conditions else "goodAfterTime"
        raise Rejection(10340, f"Unsupported attribute: {attribute}")
    volume = _volume(form, listed, direction)
    price = ZERO
    if kind == "LIMIT":
        price = _price(hub, listed, form.limit, "limit")
    elif kind == "STOP":
        price = _price(hub, listed, form.aux, "stop")
        if form.order_type == "STP LMT":
            _price(hub, listed, form.limit, "limit")
    shares = _shares(hub, form, volume, listed) if account == ADVISOR else ()
    return Wanted(listed, account, direction, kind, price, volume, _expiry(form, listed), shares)


def _listed(hub: Hub, form: OrderForm) -> Listed:
    query = form.query
    if not query.exchange:
        raise invalid("bN", "Missing order exchange")
    found = hub.contracts.resolve(query)
    if len(found) > 1:
        raise Rejection(200, f"The contract description specified for {query.symbol} is ambiguous.")
    if not found or found[0].sec_type == "CONTFUT":
        raise Rejection(200, "No security definition has been found for the request")
    if found[0].sec_type == "IND":
        raise Rejection(412, "The contract is not available for trading.")
    return found[0]


def _account(hub: Hub, form: OrderForm) -> str:
    accounts = hub.accounts
    account = form.account
    if hub.switches.fa and form.text("faGroup") and account in ("", ADVISOR):
        return ADVISOR
    if not account and len(accounts) == 1:
        return accounts[0]
    if not account:
        raise Rejection(435, "You must specify an account.")
    if account not in accounts:
        raise invalid("bL", f"Invalid account code {account!r}")
    if account == ADVISOR:
        raise Rejection(436, "You must specify an allocation.")
    return account


def _shares(hub: Hub, form: OrderForm, volume: int, listed: Listed) -> tuple[tuple[str, int], ...]:
    """How an order for an advisor's group is spread."""
    group = hub.groups.get(form.text("faGroup"))
    if group is None:
        raise invalid("bC", f"Invalid FA group {form.text('faGroup')!r}")
    try:
        return spread(hub, group, form.text("faMethod"), volume, listed.instrument)
    except ValueError as error:
        raise invalid("bC", str(error)) from error


def _type(form: OrderForm) -> OrderType:
    kind = TYPES.get(form.order_type)
    if kind is not None:
        return kind
    if form.order_type in SPELLINGS.values():
        raise Rejection(387, "Unsupported order type for this exchange and security type.")
    raise invalid("bF", f"Invalid order type {form.order_type!r}")


def _time_in_force(form: OrderForm) -> None:
    if form.tif in TIFS and not (form.tif in AT_ONCE and TYPES[form.order_type] == "STOP"):
        return
    if form.tif in TIFS or form.tif in OTHER_TIFS:
        raise Rejection(111, f"The order type and the time in force {form.tif} are incompatible.")
    raise invalid("bT", f"Invalid time in force {form.tif!r}")


def _volume(form: OrderForm, listed: Listed, direction: Direction) -> int:
    quantity = form.quantity
    if not quantity:
        raise Rejection(434, "The order size cannot be zero.")
    if quantity < 0 or quantity > MAX_QUANTITY:
        raise invalid("bQ", f"Invalid order quantity {quantity}")
    if quantity != int(quantity):
        raise Rejection(FRACTION, "Fractional-sized order cannot be placed via API.")
    volume = int(quantity)
    instrument = listed.instrument
    whole = instrument.exchange in WHOLE_LOT_EXCHANGES
    if (whole or (instrument.exchange in WHOLE_LOT_BUY_EXCHANGES and direction == "LONG")) and volume % instrument.lot:
        raise Rejection(355, "Order size does not conform to market rule.")
    return volume


def _price(hub: Hub, listed: Listed, price: Decimal | None, what: str) -> Decimal:
    if price is None or not 0 < price <= MAX_PRICE:
        raise invalid("bP", f"Invalid {what} price {'' if price is None else price}")
    if price % hub.market.tick_size(listed.vt_symbol, price):
        raise Rejection(110, "The price does not conform to the minimum price variation for this contract.")
    return price


def _expiry(form: OrderForm, listed: Listed) -> datetime | None:
    """When a GTD order ends."""
    if form.tif != "GTD":
        return None
    try:
        until = parse_time(form.text("goodTillDate"), listed.instrument.zone)
    except BadTime as error:
        raise Rejection(391, f"Invalid good till date: {error}") from error
    if until is None:
        raise Rejection(391, "A GTD order needs a good till date.")
    return until
