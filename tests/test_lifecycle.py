"""The order lifecycle's table: what may follow what, and that nothing reopens a finished order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vnpy.trader.constant import Status

from vnpy_brokerkit.lifecycle import MOVES, STATE2VT, TERMINAL, Happening, State, diagram, move

LIFE = [
    (
        [Happening.SENT, Happening.ACKNOWLEDGED, Happening.ACCEPTED, Happening.PART_FILLED, Happening.FILLED],
        State.FILLED,
    ),
    ([Happening.REFUSED], State.REJECTED),
    ([Happening.CANCELLED], State.CANCELLED),
    ([Happening.SENT, Happening.REFUSED], State.REJECTED),
    ([Happening.SENT, Happening.LOST], State.UNKNOWN),
    ([Happening.SENT, Happening.LOST, Happening.REFUSED], State.REJECTED),
    ([Happening.SENT, Happening.LOST, Happening.PART_FILLED, Happening.CANCELLED], State.CANCELLED),
    ([Happening.SENT, Happening.ACCEPTED, Happening.ACKNOWLEDGED], State.WORKING),
    ([Happening.SENT, Happening.ACCEPTED, Happening.LOST], State.WORKING),
    ([Happening.SENT, Happening.ACCEPTED, Happening.REFUSED], State.WORKING),
    ([Happening.SENT, Happening.ACKNOWLEDGED, Happening.REJECTED, Happening.ACCEPTED], State.REJECTED),
    ([Happening.SENT, Happening.CANCELLED, Happening.FILLED], State.FILLED),
]


@pytest.mark.parametrize(("happenings", "end"), LIFE)
def test_a_life(happenings: list[Happening], end: State) -> None:
    state = State.NEW
    for happening in happenings:
        state = move(state, happening)
    assert state is end


@given(st.lists(st.sampled_from(list(Happening))))
def test_a_finished_order_never_works_again(happenings: list[Happening]) -> None:
    state = State.NEW
    finished = False
    for happening in happenings:
        state = move(state, happening)
        assert not finished or state in TERMINAL
        finished = finished or state in TERMINAL


def test_unknown_is_shown_as_submitting_not_as_rejected() -> None:
    assert STATE2VT[State.UNKNOWN] is Status.SUBMITTING


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    reached = {State.NEW}
    for _ in State:
        reached |= {after for state in reached for after in MOVES[state].values()}
    assert reached == set(State) == set(MOVES) == set(STATE2VT)


def test_the_docs_show_this_table() -> None:
    page = Path(__file__).parents[1] / "docs" / "lifecycle.md"
    assert diagram() in page.read_text(encoding="utf-8")
