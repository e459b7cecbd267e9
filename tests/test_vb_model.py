"""The oracle without sockets, VBrokers: tracker, journal and reconciliation against a model broker in virtual time.

``MODEL_SCRIPTS=10000 pytest tests/test_vb_model.py tests/test_ib_model.py`` runs ten thousand drawn scripts of each
plugin; without it a part of them runs. A script that fails is shrunk and printed as data: it can be kept here as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings

import vnpy_brokerkit.tracker
import vnpy_vbrokers.settling
from tests.model_run import Failed, drawn
from tests.model_script import Fill, Kill, Pause, Renew
from tests.model_vb_engine import Session, VbEngine
from tests.model_vb_run import run
from tests.model_vb_script import (
    ANSWERED_LATE,
    LOST_AFTER,
    NO_ID,
    OK,
    RESET_LATE,
    VERY_LATE,
    Midnight,
    Phone,
    Pushes,
    Reads,
    Script,
    Send,
    Step,
    Turn,
    scripts,
)
from vnpy_brokerkit.errors import UnknownOutcome
from vnpy_brokerkit.journal import Journal
from vnpy_brokerkit.lifecycle import State
from vnpy_brokerkit.tracker import OrderTracker, TrackedOrder
from vnpy_vbrokers.orders import PLACE

ENOUGH = 2000
"""Drawn scripts in which each of the wilful bugs below is found."""
DRAWN = drawn(1800)


@DRAWN
@given(scripts())
def test_every_drawn_script_ends_equal_to_the_broker(script: Script) -> None:
    run(script)


# ---------------------------------------------------------------------- scripts that once failed


def send(**other: Any) -> Send:
    plain = Send(stock=0, buy=True, market=False, fate=OK, filled=0, quote_s=0.0, twin=False)
    return replace(plain, **other)


def plain(*steps: Step | tuple[Step, float], **knobs: Any) -> Script:
    """A script; a step that names no pause is followed by one turn of the loop."""
    return Script(tuple(step if isinstance(step, tuple) else (step, 0.0) for step in steps), **knobs)


def test_an_order_of_yesterday_with_unknown_outcome_is_found_in_the_history_list() -> None:
    sent = send(stock=2, fate=NO_ID, filled=1)
    run(plain((sent, 0.02), Midnight(carried=False), Kill(turns=0, seconds=6.0, written=True)))


def test_a_damaged_deal_row_does_not_shift_the_fills_behind_it() -> None:
    """The fills of the page would be counted, and after a restart counted again under other names."""
    run(
        plain(
            (send(), 3.0),
            (Pushes("lose", 4), 0.0),
            (Fill(place=0, quarters=1, halves=False), 0.0),
            (Fill(place=0, quarters=4, halves=False), 0.0),
            (Reads("damaged", 4), 14.0),
            (Kill(turns=0, seconds=0.5, written=True), 14.0),
        )
    )


def test_an_order_just_like_one_that_is_being_settled_is_not_taken_for_a_stranger() -> None:
    """It goes out between the two reads: its row makes the unknown one undecidable, and itself is then "absent"."""
    run(
        plain(
            (Pause(1.0), 0.0),
            (Pause(1.0), 0.0),
            (send(fate=LOST_AFTER), 14.0),
            send(fate=NO_ID, quote_s=0.5, twin=True),
            latencies=(0.01, 1.0),
            disk_s=0.4,
            twins=True,
        )
    )


def test_an_order_just_like_one_whose_settling_takes_long_is_settled_with_it() -> None:
    """Sent and given up by the Gateway while the lists are read, so that it is neither young nor among those judged."""
    run(
        plain(
            Pause(1.0),
            (Pause(1.0), 3.0),
            send(fate=LOST_AFTER),
            Pause(1.0),
            (Pause(1.0), 14.0),
            send(fate=LOST_AFTER, quote_s=4.5, twin=True),
            latencies=(2.5,),
            twins=True,
        )
    )


def test_a_late_push_does_not_change_the_kind_of_a_held_market_order() -> None:
    """A push does not say the kind, the list did: the order must not be given up as one that never arrived."""
    late = Pushes("late", 1)
    run(plain(late, (send(market=True, fate=NO_ID), 14.0), market_price=True))


def test_a_stale_push_does_not_reopen_a_held_order() -> None:
    run(
        plain(
            Pushes("last", 2),
            Pushes("late", 1),
            (send(fate=NO_ID, filled=1), 0.5),
            Fill(place=1, quarters=2, halves=False),
            Turn(place=6, what="cancel"),
        )
    )


def test_an_answer_that_reaches_an_earlier_session_is_caught_up_by_the_lists() -> None:
    """connect() again while an order waits for its answer: by then the new session has held its row."""
    run(
        plain(
            Kill(turns=0, seconds=0.001, written=True),
            Pause(1.0),
            Pause(1.0),
            Pause(1.0),
            send(fate=ANSWERED_LATE, filled=4),
            Renew(),
            latencies=(0.01, 0.01, 2.5),
        )
    )


def test_a_second_connect_while_the_journal_is_being_read_forgets_no_order() -> None:
    run(
        plain(
            send(),
            Pause(1.0),
            Kill(turns=0, seconds=0.001, written=True),
            (send(), 0.02),
            Renew(),
            disk_s=0.02,
        )
    )


def test_a_fill_that_no_process_has_told_is_read_after_midnight_and_a_restart() -> None:
    """The first process was killed after it told that the order had ended, and before it read with which fills."""
    run(
        plain(
            Pause(5.0),
            Pushes("lose", 2),
            (send(stock=2, filled=1), 14.0),
            (Midnight(carried=True), 14.0),
            (Pause(1.0), 3.0),
            Kill(turns=0, seconds=0.001, written=True),
            latencies=(2.5,),
        )
    )


def test_an_external_market_order_that_a_push_introduced_is_shown_as_one() -> None:
    run(plain(send(market=True, fate=VERY_LATE), market_price=True))


def test_rows_that_a_shifting_page_repeats_do_not_take_the_place_of_other_fills() -> None:
    """Exact to the price of each share: the broker says 4 at 100.02, the engine 4 at another fill's price."""
    script = plain(
        send(),
        Phone(stock=0, buy=True, filled=1, twin=False),
        Pause(1.0),
        Fill(place=0, quarters=2, halves=True),
        Fill(place=1, quarters=4, halves=False),
        Pause(1.0),
        (Kill(turns=0, seconds=0.001, written=True), 0.5),
        Fill(place=0, quarters=4, halves=False),
        page=3,
    )
    run(script, exact_money=True)


# ---------------------------------------------------------------------- the oracle can fail


PLAIN = plain(
    (send(fate=RESET_LATE), 14.0),
    (Fill(place=0, quarters=4, halves=False), 3.0),
    (Kill(turns=0, seconds=0.5, written=True), 3.0),
)
"""Without a bug nothing is found in it."""


class Resends(VbEngine):
    """Sends an order again whose outcome is not known."""

    async def _mutate(self, session: Session, route: str, params: dict[str, Any]) -> Any:
        try:
            return await super()._mutate(session, route, params)
        except UnknownOutcome:
            if route != PLACE:
                raise
            return await super()._mutate(session, route, params)


def settle_at_once(patch: pytest.MonkeyPatch) -> None:
    """An order is judged as soon as its answer is missing."""
    patch.setattr(vnpy_vbrokers.settling.Settling, "_is_young", lambda self, order: False)


def forget_restored_orders(patch: pytest.MonkeyPatch) -> None:
    """What an earlier process left is not tracked again."""
    patch.setattr(OrderTracker, "restore", lambda self, order: None)


def count_every_fill(patch: pytest.MonkeyPatch) -> None:
    """A share that is covered is counted again."""
    patch.setattr(vnpy_brokerkit.tracker, "_uncovered", lambda low, high, fills: [(low, high)])


def write_what_has_ended(patch: pytest.MonkeyPatch) -> None:
    """An order is on disk when it has ended, not before it leaves."""
    follow = Journal.follow

    async def intend(self: Journal, order: TrackedOrder) -> None:
        """The disk may wait."""

    patch.setattr(Journal, "intend", intend)
    patch.setattr(Journal, "follow", lambda self, order: None if order.active else follow(self, order))


def believe_the_last_word(patch: pytest.MonkeyPatch) -> None:
    """A late message reopens an order that has ended."""
    words = vnpy_brokerkit.lifecycle.MOVES[State.SENDING]
    patch.setattr(vnpy_brokerkit.tracker, "move", lambda state, happening: words.get(happening, state))


def write_no_fills(patch: pytest.MonkeyPatch) -> None:
    """The journal does not hear of fills."""
    patch.setattr(Journal, "fill", lambda self, order, fill: None)


def nothing(patch: pytest.MonkeyPatch) -> None:
    """The bug is in the engine."""


@pytest.mark.parametrize(
    ("bug", "engine"),
    [
        (nothing, Resends),
        (settle_at_once, VbEngine),
        (forget_restored_orders, VbEngine),
        (count_every_fill, VbEngine),
        (write_what_has_ended, VbEngine),
        (believe_the_last_word, VbEngine),
        (write_no_fills, VbEngine),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_known_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None], engine: type[VbEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(PLAIN)
    bug(monkeypatch)

    @settings(DRAWN, max_examples=ENOUGH, phases=[Phase.generate])
    @given(scripts())
    def search(script: Script) -> None:
        run(script, engine)

    with pytest.raises(Failed):
        search()
