"""Checks of connect() and close(), and of what a gateway does to the engine and to its callers."""

from __future__ import annotations

import threading
from functools import partial

from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.constant import Direction, Status
from vnpy.trader.event import EVENT_ACCOUNT
from vnpy.trader.gateway import BaseGateway

from .check import Checks
from .in_step import in_step
from .stage import Stage
from .venue import CUT, QUOTE, SECOND_SEAT, SILENCE
from .verdict import Failed, must

CHECKS = Checks()
SECOND_NAME = "SECOND"
MANY_TIMERS = 30
"""Timer events during an outage: more than the usual interval of a reconnecting gateway."""
SOME_TIMERS = 10
"""Timer events in which what is going to be said has been said."""
LINES_FOR_ONE_TROUBLE = 3
"""What went wrong, at most with a line before and one after it."""


@CHECKS.add("connect() returns at once, leads to a line that says so, and brings the account")
def connects(stage: Stage) -> None:
    stage.call("connect()", lambda: stage.main.connect(stage.venue.settings(), stage.name))
    stage.wait_ready(1)
    stage.wait(lambda: stage.seen.of(EVENT_ACCOUNT), "an account")


@CHECKS.add("connect() returns at once also while the broker answers nothing, and succeeds when it does", SILENCE)
def connect_returns_while_the_broker_is_silent(stage: Stage) -> None:
    stage.venue.silence()
    stage.call("connect()", lambda: stage.main.connect(stage.venue.settings(), stage.name))
    stage.timers(SOME_TIMERS)
    stage.check_engine()
    stage.venue.heal()
    stage.wait_ready(1)


@CHECKS.add("connect() returns at once while nobody listens, and succeeds when the broker comes", CUT)
def connect_before_the_broker_is_there(stage: Stage) -> None:
    stage.venue.cut()
    stage.call("connect()", lambda: stage.main.connect(stage.venue.settings(), stage.name))
    stage.wait(lambda: stage.lines_since(0), "a line that says why there is no connection")
    stage.venue.heal()
    stage.wait_ready(1)


@CHECKS.add("wrong settings are told in the log, briefly and without an exception, and right ones work afterwards")
def wrong_settings_are_a_line(stage: Stage) -> None:
    for wrong in stage.venue.wrong_settings():
        before = len(stage.lines_since(0))
        stage.call("connect() with wrong settings", partial(stage.main.connect, wrong, stage.name))
        stage.wait(partial(stage.lines_since, before), "a line that says what is wrong")
        stage.timers(SOME_TIMERS)
        lines = stage.lines_since(before)
        must(len(lines) <= LINES_FOR_ONE_TROUBLE, f"{len(lines)} lines for one trouble: {list(lines)}")
    stage.connect()


@CHECKS.add("a second connect() is safe: everything goes on, and nothing is told or sent twice")
def second_connect_is_safe(stage: Stage) -> None:
    stage.connect()
    bought = stage.send(stage.order(stage.ground, stage.ground.ask, stage.ground.lots(3)))
    stage.wait_status(bought, Status.ALLTRADED)
    resting = stage.send(stage.order(stage.ground, stage.ground.resting, stage.ground.lots(2)))
    stage.wait_status(resting, Status.NOTTRADED)
    stage.call("a second connect()", lambda: stage.main.connect(stage.venue.settings(), stage.name))
    stage.timers(1)
    stage.wait(lambda: stage.count_ready() >= 1 and stage.venue.truth().orders, "the connection")
    stage.market(stage.other)
    in_step(stage)
    stage.cancel(resting)
    stage.wait_status(resting, Status.CANCELLED)
    must(stage.venue.order_requests() == 2, f"{stage.venue.order_requests()} requests for 2 orders")


@CHECKS.add("close() comes back in time, may be called twice, and leaves no thread of its own")
def close_leaves_nothing(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    _close(stage)
    _close(stage)
    no_threads(stage)


@CHECKS.add("close() of a gateway that was never connected is harmless")
def close_before_connect(stage: Stage) -> None:
    _close(stage)
    no_threads(stage)


@CHECKS.add("close() comes back in time and leaves no thread while the connection is lost", CUT)
def close_during_an_outage(stage: Stage) -> None:
    stage.connect()
    stage.cut_and_heal(lambda: _close(stage))
    no_threads(stage)


@CHECKS.add("close() comes back in time and leaves no thread while the broker answers nothing", SILENCE)
def close_while_the_broker_is_silent(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    stage.venue.silence()
    stage.send(stage.order(stage.ground, stage.ground.resting, stage.ground.lots(1)))
    _close(stage)
    no_threads(stage)


@CHECKS.add("a cancel just before close(), the event engine having ended as in VN Trader, still reaches the broker")
def cancel_before_close_goes_out(stage: Stage) -> None:
    stage.connect()
    resting = stage.send(stage.order(stage.ground, stage.ground.resting, stage.ground.lots(1)))
    order = stage.wait_status(resting, Status.NOTTRADED)
    stage.engine.stop()
    stage.gateway.cancel_order(order.create_cancel_request())
    _close(stage)
    stage.wait(
        lambda: [row.status for row in stage.venue.truth().orders] == [Status.CANCELLED],
        "the order cancelled at the broker",
    )


@CHECKS.add("handlers on the event engine let no exception out and do not block it, connected, cut or closed", CUT)
def handlers_spare_the_event_engine(stage: Stage) -> None:
    stage.connect()
    _call_handlers(stage, "while connected")
    stage.cut_and_heal(lambda: _call_handlers(stage, "while the connection is lost"))
    stage.check_engine()
    _close(stage)
    _call_handlers(stage, "after close()")
    stage.check_engine()


@CHECKS.add(
    "while the gateway reconnects to a broker that answers nothing, the event engine goes on", CUT, SILENCE, QUOTE
)
def event_engine_goes_on_while_reconnecting(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)

    def silent() -> None:
        stage.venue.heal()
        stage.venue.silence()
        stage.timers(MANY_TIMERS)
        stage.check_engine()

    stage.cut_and_heal(silent)
    stage.trade_again()


@CHECKS.add(
    "order ids hold no dot and are no other instance's, nor those of a run before: RPC shows all gateways as one",
    SECOND_SEAT,
)
def ids_are_unique(stage: Stage) -> None:
    stage.add(SECOND_NAME)
    stage.connect()
    stage.connect(stage.venue.settings(seat=1), SECOND_NAME)
    ids = [_resting(stage, name) for name in (stage.name, SECOND_NAME) * 3]
    stage.restart()
    stage.connect()
    ids.append(_resting(stage, stage.name))
    dotted = [vt_orderid for vt_orderid in ids if vt_orderid.count(".") != 1]
    must(not dotted, f"ids with a dot of their own: {dotted}")
    orderids = [vt_orderid.partition(".")[2] for vt_orderid in ids]
    must(len(set(orderids)) == len(orderids), f"ids given twice: {orderids}")


@CHECKS.add("a gateway under another name tells everything under that name")
def another_name_is_used(stage: Stage) -> None:
    stage.close()
    stage.name = SECOND_NAME
    stage.open()
    stage.connect()
    ground = stage.ground
    stage.market(ground)
    bought = stage.send(stage.order(ground, ground.ask, ground.lots(1)))
    stage.wait_status(bought, Status.ALLTRADED)
    stage.wait_volume(bought, ground.lots(1))
    stage.wait(stage.main.get_all_positions, "a position")
    named = {push.data.gateway_name for push in stage.seen.pushes()}
    must(named == {SECOND_NAME}, f"pushed under the names {sorted(named)}")


def _resting(stage: Stage, name: str) -> str:
    request = stage.order(stage.ground, stage.ground.resting, stage.ground.lots(1), Direction.LONG)
    return stage.send(request, name)


def _close(stage: Stage) -> None:
    stage.call("close()", stage.gateway.close, stage.patience.close)


def no_threads(stage: Stage) -> None:
    """Nothing runs that did not run before the gateway was made; a thread that is just ending may end."""

    def left() -> list[str]:
        own = set(threading.enumerate()) - stage.threads_before - {threading.current_thread()}
        return [thread.name for thread in own if not thread.name.startswith("conformance-")]

    try:
        stage.wait(lambda: not left(), "the end of all threads of the gateway")
    except Failed as error:
        raise Failed(f"{error}; there are still {left()}") from None


def _call_handlers(stage: Stage, when: str) -> None:
    """Call the gateway's own handlers of the timer event, as often as an outage does."""
    for handler in list(stage.engine._handlers.get(EVENT_TIMER, ())):
        if _belongs(handler, stage.gateway):
            for _number in range(MANY_TIMERS):
                stage.call(f"a timer handler {when}", partial(handler, Event(EVENT_TIMER)))


def _belongs(handler: object, gateway: BaseGateway) -> bool:
    """Whether it is a method of the gateway or of one of its parts."""
    owner = getattr(handler, "__self__", None)
    return owner is gateway or any(part is owner for part in vars(gateway).values() if owner is not None)
