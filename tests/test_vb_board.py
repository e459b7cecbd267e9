"""What one instrument's quotes add up to over the parts of a US day (reference "vbrokers-openapi", 4.3 and 6.1).

Whether the broker counts the volume of the night with the day's is not documented: both must give quotes.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.trading_hours import Segment
from vnpy_vbrokers.board import Board
from vnpy_vbrokers.instruments import Instrument
from vnpy_vbrokers.wire.push import QuoteUpdate
from vnpy_vbrokers.wire.schema import Security

IBM = Instrument("IBM", Exchange.SMART, 20000, Decimal(1), Decimal("0.01"))
PRE, REGULAR, POST, NIGHT = -1, 1, -2, -3


def quote(part: int, volume: int, trade_time: str, price: str = "184.3") -> QuoteUpdate:
    return QuoteUpdate(
        Security(20000, "IBM"),
        open_price=Decimal(price),
        last_price=Decimal(price),
        volume=Decimal(volume),
        trade_time=trade_time,
        mkt_tm_type=part,
    )


def take(board: Board, news: QuoteUpdate) -> bool:
    """Apply news as the market data does; tell whether it was taken."""
    volume, is_late = board.counted(news, news.volume)
    if is_late:
        return False
    board.merge(news, volume)
    board.traded = board.traded_at(news) or board.traded
    board.day = board.traded.date() if board.traded else None
    return True


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((PRE, 9_000, "20261119092900"), (REGULAR, 100, "20261119093001")),
        ((POST, 9_000, "20261119195900"), (NIGHT, 100, "20261119200100")),
        ((REGULAR, 9_000, "20261119155900"), (NIGHT, 100, "20261119200100")),
        ((NIGHT, 9_000, "20261120035900"), (PRE, 100, "20261120040100")),
        ((NIGHT, 9_000, "20261120035900"), (REGULAR, 100, "20261120093001")),
        ((NIGHT, 9_000, "20261119235900"), (NIGHT, 100, "20261120000100")),
    ],
)
def test_a_smaller_volume_in_a_later_part_begins_a_new_count(
    before: tuple[int, int, str], after: tuple[int, int, str]
) -> None:
    board = Board(IBM)
    assert take(board, quote(*before))
    assert take(board, quote(*after))
    assert board.volume == 100


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((REGULAR, 100, "20261119093001"), (PRE, 90, "20261119092959")),
        ((POST, 9_000, "20261119160100"), (REGULAR, 8_900, "20261119155959")),
        ((POST, 9_000, "20261119160100"), (PRE, 500, "20261119092959")),
        ((NIGHT, 100, "20261119200100"), (POST, 9_000, "20261119195900")),
        ((NIGHT, 100, "20261120000100"), (POST, 9_000, "20261119195900")),
        ((PRE, 100, "20261120040100"), (NIGHT, 90, "20261120035900")),
    ],
)
def test_what_is_of_an_earlier_part_changes_nothing(before: tuple[int, int, str], after: tuple[int, int, str]) -> None:
    board = Board(IBM)
    assert take(board, quote(*before))
    assert not take(board, quote(*after, price="1"))
    assert board.last == Decimal("184.3")


def test_a_volume_that_is_counted_on_through_the_night_goes_on() -> None:
    board = Board(IBM)
    for part, volume, moment in (
        (POST, 9_000, "20261119195900"),
        (NIGHT, 9_100, "20261119200100"),
        (NIGHT, 9_200, "20261120035900"),
    ):
        assert take(board, quote(part, volume, moment))
    assert board.volume == 9_200
    assert board.segment is Segment.NIGHT
