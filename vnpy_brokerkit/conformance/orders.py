"""Checks of orders and trades while the connection stands."""

from __future__ import annotations

import threading
import time
from collections import Counter
from functools import partial
from itertools import pairwise

from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.event import EVENT_ORDER, EVENT_TRADE
from vnpy.trader.object import CancelRequest, OrderData, OrderRequest

from .check import Checks
from .in_step import in_step
from .stage import Stage, same
from .venue import ELSEWHERE, MARKET_ORDER, QUOTE, REFUSE, SILENCE, Ground
from .verdict import must

CHECKS = Checks()
ENDED = (Status.ALLTRADED, Status.CANCELLED, Status.REJECTED)
RANK = {Status.SUBMITTING: 0, Status.NOTTRADED: 1, Status.PARTTRADED: 2}
FINAL = 3
MANY = 12
"""Orders that are sent in a row where one might get lucky."""
LONG = 15
"""Timer events in which a silence has its effects, or a connection that does not hold is lost."""


@CHECKS.add("send_order returns an id at once; from inside it nothing but SUBMITTING is pushed")
def send_order_returns_an_id_at_once(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    for number in range(MANY):
        request = stage.order(ground, ground.ask if number % 2 else ground.resting, ground.lots(1))
        _send_watched(stage, request)


@CHECKS.add(
    "send_order returns an id at once also while the broker is silent, and the order goes out at most once", SILENCE
)
def send_order_while_the_broker_is_silent(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    stage.venue.silence()
    sent = _send_watched(stage, stage.order(stage.ground, stage.ground.resting, stage.ground.lots(1)))
    stage.timers(LONG)
    stage.venue.heal()
    stage.wait(lambda: stage.orders(sent), "the order on the engine")
    in_step(stage)
    must(stage.venue.order_requests() <= 1, f"{stage.venue.order_requests()} requests for one order")
    ended = stage.main.get_order(sent)
    must(ended is not None and ended.status is not Status.ALLTRADED, "an order that rests was told as filled")


@CHECKS.add("no fill and no end of an order is pushed before send_order has returned its id to the caller", QUOTE)
def nothing_overtakes_the_id(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    returned = {}
    for number in range(MANY):
        # A fill at once, and what a gateway may refuse by itself: both come back as fast as anything can.
        price = ground.ask if number % 2 else 0.0
        sent = stage.main.send_order(stage.order(ground, price, ground.lots(1)), stage.name)
        if sent:
            returned[sent] = time.monotonic()
            if number % 2:
                stage.wait_status(sent, Status.ALLTRADED)
    for push in stage.seen.pushes(EVENT_ORDER, EVENT_TRADE):
        late = getattr(push.was, "status", None) is Status.SUBMITTING or push.at >= returned[push.was.vt_orderid]
        must(late, f"pushed before send_order had returned: {push.was}")


@CHECKS.add("a limit order that rests goes from SUBMITTING to NOTTRADED, and by its cancel to CANCELLED")
def resting_order_and_cancel(stage: Stage) -> None:
    stage.connect()
    ground = stage.ground
    sent = stage.send(stage.order(ground, ground.resting, ground.lots(5)))
    order = stage.wait_status(sent, Status.NOTTRADED)
    must(same(order.price, ground.resting) and same(order.volume, ground.lots(5)), f"not as it was sent: {order}")
    must((order.direction, order.type) == (Direction.LONG, OrderType.LIMIT), f"not as it was sent: {order}")
    stage.cancel(sent)
    stage.wait_status(sent, Status.CANCELLED)
    told = [order.status for order in stage.orders(sent)]
    must(list(dict.fromkeys(told)) == [Status.SUBMITTING, Status.NOTTRADED, Status.CANCELLED], stage.told(sent))
    must(not stage.trades(sent), f"trades of an order that never filled: {stage.trades(sent)}")
    in_step(stage)


@CHECKS.add("a limit order within the market is filled: trades over its volume, at its price or better")
def limit_order_fills(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    for direction, price in ((Direction.LONG, ground.ask), (Direction.SHORT, ground.bid)):
        sent = stage.send(stage.order(ground, price, ground.lots(4), direction))
        stage.wait_status(sent, Status.ALLTRADED, traded=ground.lots(4))
        for trade in stage.wait_volume(sent, ground.lots(4)):
            better = trade.price <= price if direction is Direction.LONG else trade.price >= price
            must(better or same(trade.price, price), f"a trade at {trade.price} against a limit of {price}")
            must(trade.direction is direction, f"{trade.direction} for an order of {direction}")
    in_step(stage)


@CHECKS.add("a market order is filled", MARKET_ORDER)
def market_order_fills(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    sent = stage.send(stage.order(stage.ground, 0, stage.ground.lots(4), type=OrderType.MARKET))
    order = stage.wait_status(sent, Status.ALLTRADED, traded=stage.ground.lots(4))
    must(order.type is OrderType.MARKET, f"told as {order.type}")
    stage.wait_volume(sent, stage.ground.lots(4))
    in_step(stage)


@CHECKS.add("a part that fills is told as PARTTRADED, the rest as ALLTRADED", QUOTE)
def partial_fills_are_told(stage: Stage) -> None:
    ground, sent = _partly_filled(stage)
    stage.wait_status(sent, Status.PARTTRADED, traded=ground.lots(3))
    stage.venue.quote(ground.vt_symbol, ground.bid, ground.ask)
    stage.wait_status(sent, Status.ALLTRADED, traded=ground.lots(10))
    stage.wait_volume(sent, ground.lots(10))
    in_step(stage)


@CHECKS.add("the cancel of the rest leaves what was filled", QUOTE)
def cancel_of_the_rest_keeps_the_fills(stage: Stage) -> None:
    ground, sent = _partly_filled(stage)
    stage.cancel(sent)
    stage.wait_status(sent, Status.CANCELLED, traded=ground.lots(3))
    stage.wait_volume(sent, ground.lots(3))
    in_step(stage)


@CHECKS.add("an order that the broker refuses ends REJECTED, and the log holds the broker's reason", REFUSE)
def refusal_is_rejected_with_its_reason(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    reason = stage.venue.refuse_next()
    sent = stage.send(stage.order(stage.ground, stage.ground.ask, stage.ground.lots(2)))
    order = stage.wait_status(sent, Status.REJECTED)
    must(same(order.traded, 0), f"a refused order with {order.traded} traded")
    stage.wait(lambda: [line for line in stage.lines_since(0) if reason in line], f"“{reason}” in the log")
    must(not stage.trades(sent), f"trades of a refused order: {stage.trades(sent)}")
    in_step(stage)


@CHECKS.add("an order for what does not exist ends REJECTED or is given no id, and harms nothing")
def order_for_an_unknown_symbol_ends(stage: Stage) -> None:
    stage.connect()
    for symbol in ("NOSUCHTHING", "NOSUCHTHING-USD-STK"):
        request = OrderRequest(symbol, Exchange.SMART, Direction.LONG, OrderType.LIMIT, stage.ground.lots(1), 1.0)
        sent = stage.main.send_order(request, stage.name)
        if sent:
            stage.wait_status(sent, Status.REJECTED)
    must(not stage.venue.truth().orders, "the broker has such an order")
    _still_trades(stage)


@CHECKS.add("an order's traded volume is the sum of its trades; their ids are unique and their times aware", QUOTE)
def trades_add_up(stage: Stage) -> None:
    for vt_orderid in _busy(stage):
        order = stage.main.get_order(vt_orderid)
        must(order, f"{vt_orderid} is not in the engine")
        assert order is not None
        total = sum(trade.volume for trade in stage.trades(vt_orderid))
        must(same(order.traded, total), f"{vt_orderid}: {order.traded} traded, trades over {total}")
    told = Counter(trade.vt_tradeid for trade in stage.trades())
    must(max(told.values()) == 1, f"trades told more than once: {[i for i, n in told.items() if n > 1]}")
    for trade in stage.trades():
        must(trade.datetime and trade.datetime.tzinfo, f"no aware time: {trade}")


@CHECKS.add("an order's status and traded volume never go back, and an ended order stays ended", QUOTE)
def status_never_goes_back(stage: Stage) -> None:
    for vt_orderid in _busy(stage):
        stage.main.cancel_order(stage.cancel_request(vt_orderid, stage.ground), stage.name)
    _still_trades(stage)
    for vt_orderid in {order.vt_orderid for order in stage.orders()}:
        for earlier, later in pairwise(stage.orders(vt_orderid)):
            back = _rank(later) < _rank(earlier) or later.traded < earlier.traded
            changed = earlier.status in ENDED and later.status is not earlier.status
            must(not back and not changed, f"{vt_orderid}: {stage.told(vt_orderid)}")


@CHECKS.add("the cancel of an ended or unknown order, or one sent twice, raises nothing and changes nothing")
def needless_cancels_are_harmless(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    filled = stage.send(stage.order(ground, ground.ask, ground.lots(1)))
    stage.wait_status(filled, Status.ALLTRADED)
    resting = stage.send(stage.order(ground, ground.resting, ground.lots(1)))
    stage.wait_status(resting, Status.NOTTRADED)
    orderid = filled.partition(".")[2]
    symbol, exchange = stage.cancel_request(filled, ground).symbol, stage.cancel_request(filled, ground).exchange
    for unknown in (orderid, orderid + "0", "1" + orderid, "unknown", ""):
        request = CancelRequest(unknown, symbol, exchange)
        stage.call(f"cancel_order({unknown!r})", partial(stage.main.cancel_order, request, stage.name))
    for _twice in range(2):
        stage.cancel(resting)
    stage.wait_status(resting, Status.CANCELLED)
    stage.wait_status(filled, Status.ALLTRADED)
    _still_trades(stage)
    in_step(stage)


@CHECKS.add("an order placed elsewhere costs neither the connection nor the other orders", ELSEWHERE)
def order_placed_elsewhere_breaks_nothing(stage: Stage) -> None:
    stage.venue.order_elsewhere(stage.ground.vt_symbol, Direction.LONG, stage.ground.lots(7), stage.ground.resting)
    stage.connect()
    stage.timers(LONG)
    must(stage.count_ready() == 1, "the connection was lost and made again")
    _still_trades(stage)


@CHECKS.add("an order placed elsewhere before the connection is shown", ELSEWHERE)
def order_placed_elsewhere_before(stage: Stage) -> None:
    stage.venue.order_elsewhere(stage.ground.vt_symbol, Direction.LONG, stage.ground.lots(7), stage.ground.resting)
    stage.connect()
    stage.wait(lambda: _of_volume(stage, stage.ground.lots(7)), "the order placed elsewhere")
    in_step(stage)


@CHECKS.add("an order placed elsewhere, and its fill, are shown as they come", ELSEWHERE, QUOTE)
def order_placed_elsewhere_meanwhile(stage: Stage) -> None:
    stage.connect()
    ground = stage.ground
    stage.venue.order_elsewhere(ground.vt_symbol, Direction.LONG, ground.lots(7), ground.resting)
    order = stage.wait(lambda: _of_volume(stage, ground.lots(7)), "the order placed elsewhere")
    stage.venue.quote(ground.vt_symbol, ground.resting - (ground.ask - ground.bid), ground.resting)
    stage.wait_status(order.vt_orderid, Status.ALLTRADED)
    stage.wait_volume(order.vt_orderid, ground.lots(7))
    in_step(stage)


@CHECKS.add("positions are told as the broker has them, and 0 when nothing is held any more")
def positions_follow(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    stage.wait_status(stage.send(stage.order(ground, ground.ask, ground.lots(6))), Status.ALLTRADED)
    in_step(stage, positions=True)
    must(any(p.vt_symbol == ground.vt_symbol and p.volume for p in stage.main.get_all_positions()), "no position")
    stage.wait_status(stage.send(stage.order(ground, ground.bid, ground.lots(6), Direction.SHORT)), Status.ALLTRADED)
    in_step(stage, positions=True)
    last = [p for p in stage.main.get_all_positions() if p.vt_symbol == ground.vt_symbol]
    must(last and not any(p.volume for p in last), f"flat, and told as {last}")


@CHECKS.add("orders that four threads send at once all get ids of their own and end as the broker has them")
def several_threads_may_send(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground, ids = stage.ground, list[str]()

    def send() -> None:
        for number in range(3):
            price = ground.resting if number % 2 else ground.ask
            ids.append(stage.main.send_order(stage.order(ground, price, ground.lots(1)), stage.name))

    threads = [threading.Thread(target=send, daemon=True) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(stage.patience.deadline)
    must(len(set(ids)) == len(ids) == 12 and all(ids), f"ids given to four threads: {ids}")
    for vt_orderid in ids:
        stage.wait_status(vt_orderid, Status.ALLTRADED, Status.NOTTRADED)
    in_step(stage)
    must(stage.venue.order_requests() == 12, f"{stage.venue.order_requests()} requests for 12 orders")


def _send_watched(stage: Stage, request: OrderRequest) -> str:
    """Send from a thread of its own; what was pushed in that thread came from inside the call."""
    inside: list[int] = []

    def send() -> str:
        inside.append(threading.get_ident())
        return stage.main.send_order(request, stage.name)

    before = len(stage.seen.pushes())
    sent = stage.call("send_order", send)
    pushes = [push for push in stage.seen.pushes()[before:] if push.thread in inside]
    wrong = [
        push.was
        for push in pushes
        if push.kind == EVENT_TRADE or (push.kind == EVENT_ORDER and push.was.status is not Status.SUBMITTING)
    ]
    must(sent, "send_order returned no vt_orderid")
    must(not wrong, f"pushed from inside send_order: {wrong}")
    return sent


def _partly_filled(stage: Stage) -> tuple[Ground, str]:
    """A limit buy of ten lots of which three are filled."""
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    stage.venue.quote(ground.vt_symbol, ground.bid, ground.ask, ground.lots(3))
    sent = stage.send(stage.order(ground, ground.ask, ground.lots(10)))
    stage.wait_volume(sent, ground.lots(3))
    return ground, sent


def _busy(stage: Stage) -> list[str]:
    """A little of everything, ended; the vt_orderids."""
    ground, partly = _partly_filled(stage)
    resting = stage.send(stage.order(ground, ground.resting, ground.lots(2)))
    stage.wait_status(resting, Status.NOTTRADED)
    stage.venue.quote(ground.vt_symbol, ground.bid, ground.ask)
    stage.wait_status(partly, Status.ALLTRADED)
    sold = stage.send(stage.order(ground, ground.bid, ground.lots(5), Direction.SHORT))
    stage.wait_status(sold, Status.ALLTRADED)
    stage.cancel(resting)
    stage.wait_status(resting, Status.CANCELLED)
    in_step(stage)
    return [partly, resting, sold]


def _still_trades(stage: Stage) -> None:
    """An ordinary order still goes its way."""
    stage.market(stage.ground)
    sent = stage.send(stage.order(stage.ground, stage.ground.ask, stage.ground.lots(1)))
    stage.wait_status(sent, Status.ALLTRADED)


def _of_volume(stage: Stage, volume: float) -> OrderData | None:
    return next((order for order in stage.main.get_all_orders() if same(order.volume, volume)), None)


def _rank(order: OrderData) -> int:
    return RANK.get(order.status, FINAL)
