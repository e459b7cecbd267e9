"""The oracle without sockets, IBKR: tracker, journal and reconciliation against a model TWS in virtual time.

``MODEL_SCRIPTS=10000 pytest tests/test_vb_model.py tests/test_ib_model.py`` runs ten thousand drawn scripts of each
plugin; without it a part of them runs. A script that fails is shrunk and printed as data: it can be kept here as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import vnpy_brokerkit.tracker
from tests.model_ib_run import run
from tests.model_ib_script import INACTIVE, TAKEN, Copy, Foreign, News, Script, Send, Turn, scripts
from tests.model_ib_wire import ModelWire
from tests.model_run import Failed, drawn
from tests.model_script import Fill, Kill, Pause
from vnpy_brokerkit.journal import Journal
from vnpy_brokerkit.lifecycle import MOVES, State
from vnpy_brokerkit.tracker import OrderTracker, TrackedOrder
from vnpy_ibkr.executions import Executions
from vnpy_ibkr.order_sync import OrderSync
from vnpy_ibkr.orders import Orders

ENOUGH = 2000
"""Drawn scripts in which each of the wilful bugs below is found."""
DRAWN = drawn(2200)


@DRAWN
@given(scripts())
def test_every_drawn_script_ends_equal_to_tws(script: Script) -> None:
    run(script)


# ---------------------------------------------------------------------- scripts kept by name

ORDER = Send(stock=0, buy=True, kind=0, fate=TAKEN, filled=0, quote_s=0.0)
ANOTHER_LIFE = (Kill(turns=0, seconds=0.5, written=True), 3.0)


def test_a_copy_beside_an_order_that_was_never_answered_is_somebody_else_s() -> None:
    run(Script(((News("lose", 4), 0.0), (ORDER, 0.3), (Copy(place=0, filled=0), 0.0), ANOTHER_LIFE)))


@pytest.mark.parametrize("end", [(), (ANOTHER_LIFE,)], ids=["standing", "restarted"])
def test_a_copy_that_is_heard_of_before_its_original_is_somebody_else_s(end: tuple[Any, ...]) -> None:
    """The original has ended by then, so the open orders name only the copy, and under our orderRef."""
    filled = Fill(place=0, quarters=4, halves=False)
    run(Script(((News("lose", 9), 0.0), (ORDER, 0.3), (Copy(place=0, filled=0), 0.0), (filled, 0.0), *end)))


def test_a_refused_order_whose_news_is_lost_learns_its_number() -> None:
    refused = Send(stock=0, buy=True, kind=0, fate=INACTIVE, filled=0, quote_s=0.0)
    run(Script(((refused, 0.0), (News("lose", 3), 0.0), (News("lose", 3), 0.0), (Pause(seconds=1.0), 0.0))))


def test_a_foreign_order_that_comes_and_goes_between_two_readings_costs_nothing() -> None:
    """TWS tells nobody else of it; without a fill nothing is missing."""
    run(Script(((Foreign(stock=0, client=0, ours=True, filled=0), 0.0), (Turn(place=0, what="cancel"), 0.0))))


# ---------------------------------------------------------------------- the oracle can fail


PLAIN = Script(((ORDER, 3.0), (Fill(place=0, quarters=4, halves=False), 3.0), ANOTHER_LIFE))
"""Without a bug nothing is found in it."""


def settle_by_absence(patch: pytest.MonkeyPatch) -> None:
    """An order that no list names is closed."""
    reconcile = OrderSync.reconcile

    async def closing(self: OrderSync) -> None:
        await reconcile(self)
        for order in self._tracker.unknown():
            if not order.broker_id:
                self._outlet.refuse(order, "no list names it")

    patch.setattr(OrderSync, "reconcile", closing)


def resend_after_a_loss(patch: pytest.MonkeyPatch) -> None:
    """What was not answered goes out again."""
    lose = Orders.lose_connection

    def again(self: Orders, order: TrackedOrder) -> None:
        self._outlet.spawn(self.place(order), "again")

    def losing(self: Orders) -> None:
        sending = [order for order in self._tracker.active() if order.state is State.SENDING]
        lose(self)
        for order in sending:
            asyncio.get_running_loop().call_later(5.0, again, self, order)

    patch.setattr(Orders, "lose_connection", losing)


def count_every_execution(patch: pytest.MonkeyPatch) -> None:
    """An execution that comes again is counted again."""
    take = Executions._take_execution

    def forgetting(self: Executions, *news: Any) -> None:
        self._executions.clear()
        take(self, *news)

    patch.setattr(Executions, "_take_execution", forgetting)
    patch.setattr(vnpy_brokerkit.tracker, "_uncovered", lambda low, high, fills: [(low, high)])


def ask_for_no_executions(patch: pytest.MonkeyPatch) -> None:
    """Fills are heard, never read."""

    async def ask(self: ModelWire, send: Callable[[int], None], about: str, timeout: float = 10) -> list[Any]:
        return []

    patch.setattr(ModelWire, "ask", ask)


def forget_restored_orders(patch: pytest.MonkeyPatch) -> None:
    """What an earlier process left is not tracked again, nor found by its orderRef."""
    patch.setattr(OrderTracker, "restore", lambda self, order: None)
    patch.setattr("vnpy_ibkr.order_names.our_ref", lambda order_ref, letters: None)


def believe_the_last_word(patch: pytest.MonkeyPatch) -> None:
    """A late message reopens an order that has ended."""
    words = MOVES[State.SENDING]
    patch.setattr(vnpy_brokerkit.tracker, "move", lambda state, happening: words.get(happening, state))


def write_no_fills(patch: pytest.MonkeyPatch) -> None:
    """The journal does not hear of fills."""
    patch.setattr(Journal, "fill", lambda self, order, fill: None)


def tell_fills_at_once_and_again(patch: pytest.MonkeyPatch) -> None:
    """A fill is told when it comes, and once more with its commission."""
    hold = Executions._hold_for_commission

    def telling(self: Executions, order: Any, fill: Any, exec_id: str) -> None:
        self._outlet.push_trade(order, fill)
        hold(self, order, fill, exec_id)

    patch.setattr(Executions, "_hold_for_commission", telling)


@pytest.mark.parametrize(
    "bug",
    [
        settle_by_absence,
        resend_after_a_loss,
        count_every_execution,
        ask_for_no_executions,
        forget_restored_orders,
        believe_the_last_word,
        write_no_fills,
        tell_fills_at_once_and_again,
    ],
)
def test_a_known_bug_is_found(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    run(PLAIN)
    bug(monkeypatch)

    @settings(DRAWN, max_examples=ENOUGH, phases=[Phase.generate])
    @given(scripts())
    def search(script: Script) -> None:
        run(script)

    with pytest.raises(Failed):
        search()
