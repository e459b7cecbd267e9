"""Checks of the objects that are pushed, and of the bars that are handed out: apps keep, change and send them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from itertools import pairwise
from typing import Any

from vnpy.trader.constant import Direction, Interval, Status
from vnpy.trader.event import EVENT_CONTRACT, EVENT_LOG, EVENT_ORDER, EVENT_TICK
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import BarData, HistoryRequest

from .check import Checks
from .plain import odd_extra, odd_values, unpicklable
from .recorder import text_of
from .stage import Stage, same, split
from .venue import CUT, QUOTE, SILENCE
from .verdict import NotApplicable, must

CHECKS = Checks()
MARK = "changed by an app"
MARKED_NUMBER = -77.0
HISTORY_SPAN = timedelta(days=4)
"""Longer than a weekend."""


@CHECKS.add("orders, trades, positions and accounts hold plain numbers, aware times and plain extras")
def pushed_objects_are_plain(stage: Stage) -> None:
    for data in _everything(stage):
        odd = odd_values(data)
        must(not odd, f"{type(data).__name__}: {'; '.join(odd)}")


@CHECKS.add("everything that is pushed pickles, so that RpcService does not kill the event thread")
def pushed_objects_pickle(stage: Stage) -> None:
    for data in _everything(stage):
        odd = unpicklable(data)
        must(not odd, odd)
        must(not odd_extra(data.extra), f"{type(data).__name__}: {odd_extra(data.extra)}")


@CHECKS.add("what was pushed is a copy: the gateway neither changes it afterwards nor pushes the object again")
def pushed_objects_stay_as_they_were(stage: Stage) -> None:
    _everything(stage)
    pushes = [push for push in stage.seen.pushes() if push.kind != EVENT_LOG]
    for push in pushes:
        must(push.text == text_of(push.data), f"{type(push.data).__name__} was {push.text} and became {push.data}")
    again = len(pushes) - len({id(push.data) for push in pushes})
    must(not again, f"{again} objects were pushed more than once")


@CHECKS.add("an app that changes what it gets does not change what the gateway pushes next", QUOTE)
def apps_may_change_what_they_get(stage: Stage) -> None:
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    sent = stage.send(stage.order(ground, ground.resting, ground.lots(5)))
    stage.wait_status(sent, Status.NOTTRADED)
    for kind in (EVENT_TICK, EVENT_ORDER, EVENT_CONTRACT):
        for data in stage.seen.of(kind):
            _spoil(data)
    before = len(stage.seen.pushes())
    width = round(ground.ask - ground.bid, 6)
    stage.venue.quote(ground.vt_symbol, round(ground.resting - width, 6), ground.resting)
    stage.wait_quote(ground, round(ground.resting - width, 6), ground.resting)
    order = stage.wait_status(sent, Status.ALLTRADED)
    must(same(order.price, ground.resting) and same(order.volume, ground.lots(5)), f"the change came back: {order}")
    for push in stage.seen.pushes()[before:]:
        must(MARK not in push.text and str(MARKED_NUMBER) not in push.text, f"the change came back: {push.text}")


@CHECKS.add("query_history returns bars in time order, whole, with aware times; a list of the caller's own")
def history_is_a_list_of_bars(stage: Stage) -> None:
    _with_history(stage)
    bars = _history(stage)
    must(bars, "no bars")
    for bar in bars:
        odd = odd_values(bar)
        odd += [] if bar.interval is Interval.MINUTE else [f"interval is {bar.interval}"]
        odd += [] if bar.vt_symbol == stage.ground.vt_symbol else [f"a bar of {bar.vt_symbol}"]
        ordered = 0 < bar.low_price <= min(bar.open_price, bar.close_price)
        odd += [] if ordered and bar.high_price >= max(bar.open_price, bar.close_price) else ["prices out of order"]
        must(not odd, f"bar of {bar.datetime}: {'; '.join(odd)}")
    for earlier, later in pairwise(bars):
        must(earlier.datetime < later.datetime, f"a bar of {later.datetime} after one of {earlier.datetime}")
    first = bars[0].datetime
    for bar in bars:
        _spoil(bar)
    again = _history(stage)
    must(again and again[0].datetime >= first, "other bars at the second time")
    must(all(bar.gateway_name == stage.name for bar in again), "an app's change of a bar came back")


@CHECKS.add("query_history of what is unknown, odd or not connected returns an empty list and raises nothing")
def odd_history_is_no_bars(stage: Stage) -> None:
    _has_history(stage)
    unconnected = stage.call("query_history before connect()", partial(_ask, stage), stage.patience.history)
    must(unconnected == [], f"{len(unconnected)} bars without a connection")
    stage.connect()
    stage.market(stage.ground)
    request = _request(stage)
    request.symbol = "NOSUCHTHING"
    request.__post_init__()
    for odd in (request, _request(stage, interval=None), _request(stage, interval=Interval.TICK)):
        bars = stage.call("query_history", partial(_ask, stage, odd), stage.patience.history)
        must(isinstance(bars, list), f"query_history returned {bars!r}")


@CHECKS.add("query_history does not keep its caller for ever while the connection is cut", CUT)
def history_returns_during_an_outage(stage: Stage) -> None:
    _with_history(stage)
    stage.cut_and_heal(lambda: _bounded(stage))


@CHECKS.add("query_history does not keep its caller for ever while the broker is silent", SILENCE)
def history_returns_while_the_broker_is_silent(stage: Stage) -> None:
    _with_history(stage)
    stage.venue.silence()
    _bounded(stage)
    stage.venue.heal()


def _everything(stage: Stage) -> list[Any]:
    """A little session, and every object of it but the log's lines."""
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    # Some stays held: a gateway need not tell a position that was opened and closed between two looks.
    for direction, price, lots in ((Direction.LONG, ground.ask, 4), (Direction.SHORT, ground.bid, 3)):
        sent = stage.send(stage.order(ground, price, ground.lots(lots), direction))
        stage.wait_status(sent, Status.ALLTRADED)
        stage.wait_volume(sent, ground.lots(lots))
    resting = stage.send(stage.order(ground, ground.resting, ground.lots(2), reference="CtaStrategy_名字"))
    stage.wait_status(resting, Status.NOTTRADED)
    stage.cancel(resting)
    stage.wait_status(resting, Status.CANCELLED)
    stage.wait(stage.main.get_all_positions, "a position")
    stage.wait(stage.main.get_all_accounts, "an account")
    return [data for kind, data in stage.seen.events if kind not in (EVENT_LOG, EVENT_CONTRACT, EVENT_TICK)]


def _spoil(data: Any) -> None:
    """What vn.py's own apps do to objects, and worse."""
    data.gateway_name = MARK
    data.extra = {**(data.extra or {}), MARK: MARK}
    for name in ("price", "traded", "last_price", "pricetick", "close_price"):
        if hasattr(data, name):
            setattr(data, name, MARKED_NUMBER)
    for name in ("name", "reference"):
        if hasattr(data, name):
            setattr(data, name, MARK)


def _has_history(stage: Stage) -> None:
    if type(stage.gateway).query_history is BaseGateway.query_history:
        raise NotApplicable("the gateway has no history of its own")


def _with_history(stage: Stage) -> None:
    _has_history(stage)
    stage.connect()
    stage.market(stage.ground)
    contract = stage.wait(lambda: stage.main.get_contract(stage.ground.vt_symbol), "the contract")
    if not contract.history_data:
        raise NotApplicable("the contract says that it has no history")


def _request(stage: Stage, interval: Interval | None = Interval.MINUTE) -> HistoryRequest:
    symbol, exchange = split(stage.ground.vt_symbol)
    tick = stage.main.get_tick(stage.ground.vt_symbol)
    end = tick.datetime if tick else datetime.now(timezone.utc)
    return HistoryRequest(symbol, exchange, end - HISTORY_SPAN, end, interval)


def _ask(stage: Stage, request: HistoryRequest | None = None) -> list[BarData]:
    """Ask for bars. A gateway may say with an exception that the whole cannot be had: it counts as no bars."""
    try:
        bars: list[BarData] = stage.main.query_history(request or _request(stage), stage.name)
    except Exception:  # noqa: BLE001  of whatever kind: what matters is that the caller is not kept
        return []
    return bars


def _history(stage: Stage) -> list[BarData]:
    bars = stage.call("query_history", partial(_ask, stage), stage.patience.history)
    must(isinstance(bars, list), f"query_history returned {bars!r}")
    return bars


def _bounded(stage: Stage) -> None:
    bars = stage.call("query_history", partial(_ask, stage), stage.patience.history)
    must(isinstance(bars, list), f"query_history returned {bars!r}")
    stage.check_engine()
