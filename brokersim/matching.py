"""One broker's order desk: it takes orders, matches them against the market's quotes and keeps the ledger. It knows
no wire.

Rules (design 7, "Trading"): an order trades with the sizes shown, level by level, at the level's price (price
improvement) and never beyond its limit; what is left waits for the following quotes, each of which renews the sizes.
Earlier orders trade first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from brokersim import truth
from brokersim.clock import SimClock
from brokersim.fees import FeeSchedule
from brokersim.kept_desk import KeptDesk
from brokersim.ledger import Ledger
from brokersim.market import Market
from brokersim.means import Allot, Means, own_account
from brokersim.model import ZERO, Direction, Fill, Instrument, Level, Order, OrderType, Quote, Segment
from brokersim.order_form import wrong_form
from brokersim.sessions import local_date, to_ms
from brokersim.truth import plain

__all__ = ["Desk", "Refused", "RefusedKind", "plain"]

RefusedKind = Literal["funds", "short", "unknown", "session", "invalid", "terminal"]

DAY_IS_OVER = "当日有效，收盘撤销"

OUTSIDE_REGULAR: frozenset[Segment] = frozenset({"pre", "post", "night"})


class Refused(Exception):
    """An order, amendment or cancel that the broker does not accept at all: no order exists, or it stays as it was.

    ``kind`` tells why: ``funds`` (buying power), ``short`` (short sale not allowed), ``unknown`` (no such instrument
    or account), ``session`` (market order outside the regular segment), ``invalid`` (volume or price that makes no
    sense), ``terminal`` (the order has already ended).
    """

    def __init__(self, kind: RefusedKind, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


def _ignore(order: Order, fill: Fill | None) -> None:
    """The default for a desk that nobody listens to."""


def _fill_id(order: Order, cumulative: int) -> str:
    """The default id of the fill that makes an order's filled volume ``cumulative``."""
    return f"{order.id}-{cumulative}"


class Desk:
    """The order desk of one broker."""

    def __init__(
        self,
        market: Market,
        ledger: Ledger,
        clock: SimClock,
        *,
        allow_short: bool | Callable[[str], bool] = False,
        fees: FeeSchedule,
        next_id: Callable[[], str],
        fill_id: Callable[[Order, int], str] = _fill_id,
        allot: Allot = own_account,
    ) -> None:
        self.market = market
        self.ledger = ledger
        self.clock = clock
        self.fees = fees
        self.orders: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.on_change: Callable[[Order, Fill | None], None] = _ignore
        self._next_id = next_id
        self._fill_id = fill_id
        may_short = allow_short if callable(allow_short) else lambda account: bool(allow_short)
        self._means = Means(ledger, fees, may_short, allot)
        self._working: dict[str, dict[str, Order]] = {}
        self._expiry: dict[str, datetime | None] = {}
        self._lasting: set[str] = set()
        self._triggered: set[str] = set()
        self._taken: dict[str, tuple[Quote, dict[tuple[Direction, Decimal], int]]] = {}
        market.listeners.append(self._on_quote)
        market.after_step.append(self._expire)

    # -- orders in ---------------------------------------------------------------------------------

    def submit(
        self,
        account: str,
        vt_symbol: str,
        direction: Direction,
        type: OrderType,
        price: Decimal,
        volume: int,
        *,
        reference: str = "",
        extended: bool = False,
        tag: dict[str, str] | None = None,
        defer_match: bool = False,
        lasting: bool = False,
    ) -> Order:
        """Take a day order of ``volume`` shares (``lasting``: good till cancelled); it matches at once unless
        ``defer_match`` (then at :meth:`match` or the next quote).

        ``price`` is the limit of LIMIT, the trigger of STOP, and without meaning for MARKET. An odd lot or a price
        off the tick grid gives an order that is REJECTED with its reason (vbrokers-openapi 17: accepted, then status
        9). Raises :class:`Refused` for everything else.
        """
        instrument = self._instrument(account, vt_symbol)
        if volume <= 0:
            raise Refused("invalid", f"委托数量必须大于0：{volume}")
        if type != "MARKET" and price <= 0:
            raise Refused("invalid", f"委托价格必须大于0：{price}")
        order = Order(
            self._next_id(),
            account,
            vt_symbol,
            direction,
            type,
            price if type != "MARKET" else ZERO,
            volume,
            self.clock.now(),
            reference=reference,
            extended=extended,
            tag=dict(tag or {}),
        )
        reason = self._wrong_form(order, order.price, volume)
        if reason:
            order.reason = reason
            self.orders[order.id] = order
            self._end(order, "REJECTED")
            return order
        self._check_session(order)
        self._check_means(order, instrument)
        self.orders[order.id] = order
        self._working.setdefault(vt_symbol, {})[order.id] = order
        self._expiry[order.id] = None if lasting else self.market.day_end(vt_symbol)
        if lasting:
            self._lasting.add(order.id)
        self._means.hold(order, instrument)
        self.market.watch(vt_symbol)
        order.status = "NOTTRADED"
        self._changed(order, None)
        if not defer_match:
            self.match(order.id)
        return order

    def match(self, order_id: str) -> None:
        """Let one order trade with the standing quote. KeyError if unknown; nothing happens to an order that has
        ended."""
        order = self.orders[order_id]
        if order.active:
            self._match(order, self.market.quote(order.vt_symbol))

    def cancel(self, order_id: str, reason: str = "") -> Order:
        """End a working order. Raises KeyError if unknown, :class:`Refused` ("terminal") if it has already ended."""
        order = self._must_work(order_id)
        order.reason = reason
        self._end(order, "CANCELLED")
        return order

    def reject(self, order_id: str, reason: str) -> Order:
        """End a working order as the broker's refusal after all. Raises as :meth:`cancel` does."""
        order = self._must_work(order_id)
        order.reason = reason
        self._end(order, "REJECTED")
        return order

    def amend(self, order_id: str, *, price: Decimal | None = None, volume: int | None = None) -> Order:
        """Change a working order's price or total volume; it then matches anew.

        Raises KeyError if unknown, :class:`Refused` if it has ended or the new form is not acceptable; it then stays
        as it was.
        """
        order = self._must_work(order_id)
        instrument = self.market.instruments[order.vt_symbol]
        new_price = order.price if price is None or order.type == "MARKET" else price
        new_volume = order.volume if volume is None else volume
        if new_volume <= order.traded:
            raise Refused("invalid", f"改单数量{new_volume}不大于已成交数量{order.traded}")
        if order.type != "MARKET" and new_price <= 0:
            raise Refused("invalid", f"委托价格必须大于0：{new_price}")
        reason = self._wrong_form(order, new_price, new_volume)
        if reason:
            raise Refused("invalid", reason)
        before = order.price, order.volume
        order.price, order.volume = new_price, new_volume
        try:
            self._check_means(order, instrument)
        except Refused:
            order.price, order.volume = before
            raise
        self._means.hold(order, instrument)
        self._changed(order, None)
        self.match(order_id)
        return order

    def fill_now(self, order_id: str, volume: int | None = None) -> Fill:
        """Fill a working order whatever the book shows: at its limit, or at the last price (the fault
        ``fill_while_away``)."""
        order = self._must_work(order_id)
        price = order.price if order.type == "LIMIT" else self.market.quote(order.vt_symbol).last
        volume = order.left if volume is None else min(volume, order.left)
        if volume <= 0:
            raise Refused("invalid", "成交数量必须大于0")
        return self._fill(order, price, volume, self.clock.now())

    # -- what is asked -----------------------------------------------------------------------------

    def _instrument(self, account: str, vt_symbol: str) -> Instrument:
        instrument = self.market.instruments.get(vt_symbol)
        if instrument is None:
            raise Refused("unknown", f"没有此合约：{vt_symbol}")
        if instrument.currency not in self.ledger.cash.get(account, {}):
            raise Refused("unknown", f"账户{account}没有{instrument.currency}资金")
        return instrument

    def _must_work(self, order_id: str) -> Order:
        order = self.orders[order_id]
        if not order.active:
            raise Refused("terminal", f"委托{order_id}已结束（{order.status}），不能撤单或改单")
        return order

    def _wrong_form(self, order: Order, price: Decimal, volume: int) -> str:
        tick = self.market.tick_size(order.vt_symbol, price)
        return wrong_form(order, self.market.instruments[order.vt_symbol], price, volume, tick)

    def _check_session(self, order: Order) -> None:
        if order.type == "MARKET" and self.market.segment(order.vt_symbol) != "regular":
            raise Refused("session", "市价单只能在盘中交易时段委托")

    def _check_means(self, order: Order, instrument: Instrument) -> None:
        shortage = self._means.shortage(order, instrument)
        if shortage is not None:
            raise Refused("short" if shortage.is_short else "funds", shortage.text)

    # -- matching ----------------------------------------------------------------------------------

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        working = self._working.get(quote.vt_symbol)
        if working:
            for order in list(working.values()):
                if not self._expire_order(order, quote.time):
                    self._match(order, quote)

    def _match(self, order: Order, quote: Quote) -> None:
        if not self._may_trade(order, quote) or not self._is_triggered(order, quote):
            return
        levels = quote.asks if order.direction == "LONG" else quote.bids
        taken = self._taken_of(quote)
        for level in levels:
            if not order.active or not _within_limit(order, level):
                return
            key = (order.direction, level.price)
            volume = min(order.left, level.volume - taken.get(key, 0))
            instrument = self.market.instruments[order.vt_symbol]
            affordable = self._means.affordable(order, instrument, level.price, volume)
            if affordable > 0:
                taken[key] = taken.get(key, 0) + affordable
                self._fill(order, level.price, affordable, max(quote.time, order.updated or order.time))
            if affordable < volume:
                order.reason = "可用资金不足，剩余数量撤销"
                self._end(order, "CANCELLED")

    def _may_trade(self, order: Order, quote: Quote) -> bool:
        if quote.segment == "regular":
            return True
        return order.extended and order.type == "LIMIT" and quote.segment in OUTSIDE_REGULAR

    def _is_triggered(self, order: Order, quote: Quote) -> bool:
        if order.type != "STOP" or order.id in self._triggered:
            return True
        reached = quote.last >= order.price if order.direction == "LONG" else quote.last <= order.price
        if reached:
            self._triggered.add(order.id)
        return reached

    def _taken_of(self, quote: Quote) -> dict[tuple[Direction, Decimal], int]:
        """What this desk has already taken from this quote's shown sizes; the next quote shows new ones."""
        standing = self._taken.get(quote.vt_symbol)
        if standing is None or standing[0] is not quote:
            standing = (quote, {})
            self._taken[quote.vt_symbol] = standing
        return standing[1]

    def _fill(self, order: Order, price: Decimal, volume: int, at: datetime) -> Fill:
        """Fill ``volume`` of an order: one fill for each account that has a part in it; the last one."""
        instrument = self.market.instruments[order.vt_symbol]
        (account, part), *others = self._means.allot(order, volume)
        fill = self._fill_for(account, order, instrument, price, part, at)
        for account, part in others:
            if order.active:
                fill = self._fill_for(account, order, instrument, price, part, at)
        return fill

    def _fill_for(
        self, account: str, order: Order, instrument: Instrument, price: Decimal, volume: int, at: datetime
    ) -> Fill:
        turnover = price * volume * instrument.size
        fee = self._means.fee(order, instrument, volume, turnover)
        cumulative = order.traded + volume
        fill = Fill(
            self._fill_id(order, cumulative),
            order.id,
            account,
            order.vt_symbol,
            order.direction,
            price,
            volume,
            cumulative,
            at,
            fee,
        )
        self._means.charge(fill)
        order.traded = cumulative
        order.turnover += turnover
        order.updated = at
        order.status = "PARTTRADED" if order.left else "ALLTRADED"
        self.fills.append(fill)
        self.ledger.apply(fill)
        if order.left:
            self._means.hold(order, instrument)
        else:
            self._retire(order)
        self.on_change(order, fill)
        return fill

    # -- ends --------------------------------------------------------------------------------------

    def _expire(self, now: datetime) -> None:
        for working in list(self._working.values()):
            for order in list(working.values()):
                self._expire_order(order, now)

    def _expire_order(self, order: Order, now: datetime) -> bool:
        """Cancel a day order whose trading day has ended; whether it did."""
        expiry = self._expiry.get(order.id)
        if expiry is None or now < expiry:
            return False
        order.reason = DAY_IS_OVER
        self._end(order, "CANCELLED", expiry)
        return True

    def _end(self, order: Order, status: Literal["CANCELLED", "REJECTED"], at: datetime | None = None) -> None:
        order.status = status
        self._retire(order)
        self._changed(order, at)

    def _retire(self, order: Order) -> None:
        self.ledger.release(order.id)
        self._working.get(order.vt_symbol, {}).pop(order.id, None)
        self._expiry.pop(order.id, None)
        self._lasting.discard(order.id)
        self._triggered.discard(order.id)

    def _changed(self, order: Order, at: datetime | None) -> None:
        order.updated = self.clock.now() if at is None else at
        self.on_change(order, None)

    # -- outliving the process ---------------------------------------------------------------------

    def keep(self) -> KeptDesk:
        """Everything that :meth:`restore` needs to go on in another process."""
        return KeptDesk(
            opening={account: dict(sums) for account, sums in self.ledger.opening.items()},
            given=tuple(self.ledger.given),
            orders=tuple(self.orders.values()),
            fills=tuple(self.fills),
            working={order_id: self._expiry[order_id] for working in self._working.values() for order_id in working},
            lasting=tuple(sorted(self._lasting)),
            triggered=tuple(sorted(self._triggered)),
        )

    def restore(self, kept: KeptDesk) -> None:
        """Go on where an earlier process stood, on a desk and a ledger in which nothing has happened yet.

        Nobody is told. Raises ValueError, KeyError or ArithmeticError when it can not be so.
        """
        kept.check(self.market.instruments)
        self.ledger.restore(kept.opening, kept.given, kept.fills)
        self._means.restore(kept.fills)
        self.orders = {order.id: order for order in kept.orders}
        self.fills = list(kept.fills)
        self._lasting, self._triggered = set(kept.lasting), set(kept.triggered)
        for order_id, expiry in kept.working.items():
            order = self.orders[order_id]
            self._working.setdefault(order.vt_symbol, {})[order_id] = order
            self._expiry[order_id] = expiry
            self._means.hold(order, self.market.instruments[order.vt_symbol])
            self.market.watch(order.vt_symbol)
        self.ledger.check()

    def day_is_over(self, vt_symbol: str, since: datetime) -> bool:
        """Has a new day begun since then where the instrument trades."""
        zone = self.market.instruments[vt_symbol].zone
        return local_date(to_ms(since), zone) < local_date(to_ms(self.clock.now()), zone)

    def end_day(self, since: datetime) -> None:
        """Let the day orders expire whose day ended while nobody watched, from ``since`` until now. With a wall clock
        no day ends by itself while the simulator runs."""
        now = self.clock.now()
        for working in list(self._working.values()):
            for order in list(working.values()):
                if self._expire_order(order, now) or order.id in self._lasting or self._expiry.get(order.id):
                    continue
                if order.active and self.day_is_over(order.vt_symbol, since):
                    order.reason = DAY_IS_OVER
                    self._end(order, "CANCELLED")

    def state(self) -> dict[str, Any]:
        """This broker's part of ``GET /state``, in the shapes of design 7; numbers are decimal strings."""
        return {
            "orders": [truth.order_row(order) for order in self.orders.values()],
            "trades": [truth.trade_row(fill) for fill in self.fills],
            **truth.ledger_part(self.ledger),
        }


def _within_limit(order: Order, level: Level) -> bool:
    if order.type != "LIMIT":
        return True
    return level.price <= order.price if order.direction == "LONG" else level.price >= order.price
