"""Checks of lost connections and restarts: nothing is lost, nothing is doubled, nobody is blocked."""

from __future__ import annotations

from collections import Counter
from functools import partial

from vnpy.trader.constant import Direction, Exchange, Status
from vnpy.trader.object import SubscribeRequest

from .check import Checks
from .in_step import in_step
from .stage import Stage, split
from .venue import CUT, QUOTE, SILENCE
from .verdict import must

CHECKS = Checks()
UNKNOWN = ("", "NOSUCHTHING", "名字")


@CHECKS.add(
    "subscribe, send_order, cancel_order and the queries never block their caller while the connection is cut",
    CUT,
    QUOTE,
)
def calls_return_during_an_outage(stage: Stage) -> None:
    resting = _resting(stage)
    stage.cut_and_heal(lambda: _every_call(stage, resting))
    stage.trade_again()


@CHECKS.add(
    "subscribe, send_order, cancel_order and the queries never block their caller while the broker is silent",
    SILENCE,
    QUOTE,
)
def calls_return_while_the_broker_is_silent(stage: Stage) -> None:
    resting = _resting(stage)
    stage.venue.silence()
    _every_call(stage, resting)
    stage.venue.heal()
    stage.trade_again()


@CHECKS.add("after an outage the gateway is back by itself, and what was subscribed is live again", CUT, QUOTE)
def subscriptions_live_again(stage: Stage) -> None:
    _live_again(stage)


@CHECKS.add("a subscription made during an outage is live after it", CUT, QUOTE)
def subscription_during_an_outage_lives(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    stage.cut_and_heal(lambda: stage.subscribe(stage.other))
    stage.wait_quote(stage.other, stage.other.bid, stage.other.ask)


@CHECKS.add("what does not exist, subscribed beside the others, does not cost them after an outage either", CUT, QUOTE)
def unknown_symbols_are_harmless_after_an_outage(stage: Stage) -> None:
    _live_again(stage, *UNKNOWN)


@CHECKS.add("an order that works over an outage keeps its vt_orderid, is there once, and can be cancelled", CUT, QUOTE)
def working_order_keeps_its_id(stage: Stage) -> None:
    resting = _resting(stage)
    stage.cut_and_heal()
    stage.trade_again()
    in_step(stage)
    stage.cancel(resting)
    stage.wait_status(resting, Status.CANCELLED)
    in_step(stage)


@CHECKS.add("fills during an outage come after it, once", CUT, QUOTE)
def fills_during_an_outage_come_once(stage: Stage) -> None:
    resting = _resting(stage)
    ground = stage.ground
    stage.cut_and_heal(lambda: _fill_resting(stage))
    stage.wait_status(resting, Status.ALLTRADED)
    stage.wait_volume(resting, ground.lots(8))
    in_step(stage)


@CHECKS.add("positions are the broker's again after an outage", CUT, QUOTE)
def positions_follow_an_outage(stage: Stage) -> None:
    resting = _resting(stage)
    stage.cut_and_heal(lambda: _fill_resting(stage))
    stage.wait_status(resting, Status.ALLTRADED)
    in_step(stage, positions=True)


@CHECKS.add("a part filled before an outage and the rest during it come to the whole, once each", CUT, QUOTE)
def a_fill_split_by_an_outage_adds_up(stage: Stage) -> None:
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    stage.venue.quote(ground.vt_symbol, ground.bid, ground.ask, ground.lots(3))
    sent = stage.send(stage.order(ground, ground.ask, ground.lots(10)))
    stage.wait_volume(sent, ground.lots(3))
    stage.cut_and_heal(lambda: stage.venue.quote(ground.vt_symbol, ground.bid, ground.ask))
    stage.wait_status(sent, Status.ALLTRADED, traded=ground.lots(10))
    in_step(stage)


@CHECKS.add("one outage after the other, with fills in between: everything once", CUT, QUOTE)
def several_outages(stage: Stage) -> None:
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    for number in range(1, 4):
        resting = stage.send(stage.order(ground, ground.resting, ground.lots(number)))
        stage.wait_status(resting, Status.NOTTRADED)
        stage.cut_and_heal(partial(_fill_resting, stage))
        stage.wait_status(resting, Status.ALLTRADED)
        stage.trade_again()
    in_step(stage)
    must(stage.venue.order_requests() == 6, f"{stage.venue.order_requests()} requests for 6 orders")


@CHECKS.add(
    "orders that are sent as the connection ends go out at most once each, and end in step with the broker",
    CUT,
    QUOTE,
)
def nothing_is_sent_twice(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    ground = stage.ground
    sent = [stage.main.send_order(stage.order(ground, ground.resting, ground.lots(n)), stage.name) for n in (1, 2, 3)]
    lines = len(stage.lines_since(0))
    stage.venue.cut()
    sent += [stage.main.send_order(stage.order(ground, ground.resting, ground.lots(n)), stage.name) for n in (4, 5, 6)]
    stage.wait(lambda: len(stage.lines_since(0)) > lines, "a line about the lost connection")
    stage.venue.heal()
    stage.trade_again()
    in_step(stage)
    requests = stage.venue.order_requests()
    must(requests <= len(sent) + 1, f"{requests} requests for {len(sent) + 1} orders")
    volumes = Counter(row.volume for row in stage.venue.truth().orders)
    doubled = [volume for volume, count in volumes.items() if count > 1]
    must(not doubled, f"the broker has orders twice: {doubled}")


@CHECKS.add(
    "a new engine is told every order, trade and position of the day again, once, under the same trade ids", QUOTE
)
def restart_brings_everything_again(stage: Stage) -> None:
    resting = _resting(stage)
    ground = stage.ground
    filled = stage.send(stage.order(ground, ground.ask, ground.lots(4)))
    stage.wait_status(filled, Status.ALLTRADED)
    in_step(stage)
    before = {trade.tradeid for trade in stage.trades()}
    stage.restart()
    stage.connect()
    in_step(stage)
    must(stage.venue.truth().positions, "the broker has no position")
    in_step(stage, positions=True)
    after = {trade.tradeid for trade in stage.trades()}
    must(before == after, f"trades {sorted(before)} came back as {sorted(after)}")
    order = next(order for order in stage.main.get_all_orders() if order.is_active())
    must(order.volume == ground.lots(8), f"{order} is not {resting}")
    stage.cancel(order.vt_orderid)
    stage.wait_status(order.vt_orderid, Status.CANCELLED)
    in_step(stage)


@CHECKS.add("what was filled while no engine ran is there after the start, once", QUOTE)
def fills_between_two_engines_come_once(stage: Stage) -> None:
    _resting(stage)
    stage.close()
    _fill_resting(stage)
    stage.restart()
    stage.connect()
    in_step(stage)


def _live_again(stage: Stage, *beside: str) -> None:
    """Two instruments show new quotes after an outage, whatever else was subscribed."""
    stage.connect()
    for symbol in beside:
        stage.main.subscribe(SubscribeRequest(symbol, Exchange.SMART), stage.name)
    grounds = (stage.ground, stage.other)
    for ground in grounds:
        stage.market(ground)
    stage.cut_and_heal()
    for ground in grounds:
        step = round(10 * (ground.ask - ground.bid), 6)
        stage.venue.quote(ground.vt_symbol, ground.bid - step, ground.ask - step)
        stage.wait_quote(ground, ground.bid - step, ground.ask - step)


def _resting(stage: Stage) -> str:
    """Connected and subscribed, with a limit buy of eight lots that rests."""
    stage.connect()
    stage.market(stage.ground)
    resting = stage.send(stage.order(stage.ground, stage.ground.resting, stage.ground.lots(8)))
    stage.wait_status(resting, Status.NOTTRADED)
    return resting


def _fill_resting(stage: Stage) -> None:
    """The market falls to the resting order, which fills."""
    ground = stage.ground
    width = round(ground.ask - ground.bid, 6)
    stage.venue.quote(ground.vt_symbol, round(ground.resting - width, 6), ground.resting)
    stage.wait(
        lambda: all(row.status is Status.ALLTRADED for row in stage.venue.truth().orders), "the fill at the broker"
    )


def _every_call(stage: Stage, vt_orderid: str) -> None:
    """Each call that vn.py makes of a gateway, from a thread of its own, timed."""
    request = SubscribeRequest(*split(stage.other.vt_symbol))
    order = stage.order(stage.ground, stage.ground.resting, stage.ground.lots(1), Direction.LONG)
    stage.call("subscribe", lambda: stage.main.subscribe(request, stage.name))
    stage.call("send_order", lambda: stage.main.send_order(order, stage.name))
    cancel = stage.cancel_request(vt_orderid, stage.ground)
    stage.call("cancel_order", lambda: stage.main.cancel_order(cancel, stage.name))
    stage.call("query_account", stage.gateway.query_account)
    stage.call("query_position", stage.gateway.query_position)
    stage.check_engine()
