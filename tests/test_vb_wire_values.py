"""Numbers, texts, days and times as the Gateway writes them."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_vbrokers.wire.values import (
    MAX_MAGNITUDE,
    flag,
    integer,
    number,
    parse_date,
    parse_datetime,
    parse_time,
    parse_timestamp_text,
    text,
)

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (202.35, "202.35"),
        (0.1, "0.1"),
        (6370000000.0, "6370000000.0"),
        (1e20, "100000000000000000000"),
        (31522010, "31522010"),
        (2**63 + 1, "9223372036854775809"),
        ("180.000", "180.000"),
        (" -12.5 ", "-12.5"),
        ("+1", "1"),
        (".5", "0.5"),
        ("1e2", "100"),
        (Decimal("1E+2"), "100"),
        ("0", "0"),
    ],
)
def test_a_number_in_any_dress(value: object, expected: str) -> None:
    assert str(number(value)) == expected


@pytest.mark.parametrize("value", [None, "", "  "])
def test_nothing_said_is_unknown(value: object) -> None:
    assert number(value) is None
    assert integer(value) is None
    assert flag(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-inf",
        float("nan"),
        float("inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        "1e999999",
        "1e-999999",
        "1e21",
        1e300,
        5e-324,
        10**5000,
        -(10**30),
        "9" * 41,
        "1,234.5",
        "1_000",
        "１２",
        "0x10",
        "--",
        "1 2",
        True,
        [],
        {},
        b"1",
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_is_no_sensible_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        number(value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.floats(), st.integers(), st.decimals(), st.from_regex(r"[0-9eE.+-]{1,12}")))
def test_whatever_is_taken_is_finite_and_small(value: object) -> None:
    try:
        result = number(value)
    except ValueError:
        return
    if result is not None:
        assert result.is_finite()
        assert result.adjusted() <= MAX_MAGNITUDE
        assert len(format(result, "f")) < 100
        assert "E+" not in str(result)


def test_whole_numbers() -> None:
    assert integer("100.00") == 100
    assert integer(-3) == -3
    with pytest.raises(ValueError):
        integer("1.5")


def test_texts() -> None:
    assert text(" AAPL ") == "AAPL"
    assert text(1002451) == "1002451"
    assert text(None) == ""
    refused: tuple[object, ...] = (True, 1.5, [], {})
    for bad in refused:
        with pytest.raises(ValueError):
            text(bad)


def test_flags() -> None:
    assert [flag(value) for value in (1, "1", True, 0, "0", False)] == [True] * 3 + [False] * 3
    with pytest.raises(ValueError):
        flag(2)


@pytest.mark.parametrize("value", ["20260310", "2026-03-10", "2026/03/10", " 20260310 "])
def test_days(value: str) -> None:
    assert parse_date(value) == date(2026, 3, 10)


@pytest.mark.parametrize("value", ["", "20260231", "2026-03/10", "2026-3-1", "二〇二六", "00000000"])
def test_no_days(value: str) -> None:
    assert parse_date(value) is None


@pytest.mark.parametrize("value", ["09:30:05", "093005", "93005", "09:30:05.123", "9:30:05"])
def test_times(value: str) -> None:
    assert parse_time(value) == time(9, 30, 5)


def test_a_time_without_seconds() -> None:
    assert parse_time("09:31") == time(9, 31)


@pytest.mark.parametrize("value", ["", "25:00:00", "9", "09:30:05 PM"])
def test_no_times(value: str) -> None:
    assert parse_time(value) is None


@pytest.mark.parametrize("value", ["20260310103015", "2026-03-10 10:30:15", "2026-03-10T10:30:15", "20260310 10:30:15"])
def test_trade_time_gets_the_zone_of_the_caller(value: str) -> None:
    assert parse_timestamp_text(value, NEW_YORK) == datetime(2026, 3, 10, 10, 30, 15, tzinfo=NEW_YORK)


def test_a_row_without_its_time_has_no_datetime() -> None:
    assert parse_datetime("20260310", "", NEW_YORK) is None
    assert parse_timestamp_text("", NEW_YORK) is None
    assert parse_timestamp_text("20260310", NEW_YORK) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_no_text_breaks_the_parsers_of_times(value: str) -> None:
    parsed = parse_timestamp_text(value, NEW_YORK)
    assert parsed is None or parsed.tzinfo is NEW_YORK
