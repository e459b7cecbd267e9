"""TWS's codes: every one of the reference, and what each means for a request and for an order."""

from __future__ import annotations

import re

import pytest

from vnpy_brokerkit.errors import (
    BrokerError,
    ConnectionFailed,
    HistoryError,
    InvalidRequest,
    PermissionDenied,
    Rejected,
)
from vnpy_ibkr.errors import (
    BY_CODE,
    CODES,
    MAX_WORDS,
    OrderEffect,
    TwsCode,
    error_for,
    is_no_data,
    is_notice,
    is_pacing,
    order_effect,
    words_for,
)

# The first columns of tws-api 9.1, 9.2 and 9.3.
SYSTEM = "1100 1101 1102 1300 2100 2103 2105 2157 2104 2106 2158 2107 2108 2159 2110 2119 501 502 503 504 505 507 326 100 10182 10197 10225 10328"  # noqa: E501  a list is easier to compare on one line
ORDERS = (
    "103 104 105 106 107 109 110 111 113 116 129 131 133 134 135 136 140 141 145 146 151 154 160 161 163 166 200 201 "
    "202 203 321 328 329 347-353 355 361-364 382 383 387 388 392 399 403 404 411 412 413 425 426 434 435 436 439-443 "
    "460 481 585 10006 10015 10147 10148 10242-10252 10285 10318 10289 10290 10293 10268 10269 10270 10311 10329 10340 "
    "10347 10346 10349 2102 2109 2137 2148 2168 2169"
)
DATA = (
    "101 102 162 164 165 300 309 310 316 317 319 320 322 323 327 336 337 343 391 10314 354 365 366 385 386 414 420 430 "
    "492 512 509 579 10089 10091 10090 10092 10167 10168 10186 10187 10189 10190 10230 10231 10276 10299 10339 2101 "
    "2152"
)


def numbers(text: str) -> set[int]:
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


# What section 9.2 lets live, and what it calls a failed change or cancel.
LIVE_ON = numbers("399 404 411 481 10346 10347 10349 2109 2137 2148 2168 2169")
CHANGE_FAILED = numbers("104 105 134 135 136 160 161 329 10147 10148 2102")
MAY_WAIT_IN_TWS = numbers("109 163 382 383 10311 10329")


def test_the_table_names_each_documented_code_once() -> None:
    codes = [entry.code for entry in CODES]
    assert len(codes) == len(set(codes))
    assert set(codes) == numbers(f"{SYSTEM} {ORDERS} {DATA}")


@pytest.mark.parametrize("entry", CODES, ids=lambda entry: str(entry.code))
def test_every_entry_says_what_to_do(entry: TwsCode) -> None:
    assert entry.meaning
    assert entry.gateway_does
    assert entry.user_does


@pytest.mark.parametrize("code", sorted(numbers(ORDERS)))
def test_what_a_code_does_to_an_order(code: int) -> None:
    effect = order_effect(code)
    if code in LIVE_ON:
        assert effect is OrderEffect.KEEP
    elif code in CHANGE_FAILED:
        assert effect is OrderEffect.CANCEL_FAILED
    elif code in MAY_WAIT_IN_TWS or code == 413:
        assert effect is OrderEffect.UNSURE
    elif code == 202:
        assert effect is OrderEffect.CANCEL
    else:
        assert effect is OrderEffect.REJECT


@pytest.mark.parametrize("code", [0, 202 * 100, 99999, -1, 323, 10328, 507])
def test_a_code_that_says_nothing_sure_never_ends_an_order(code: int) -> None:
    assert order_effect(code) is OrderEffect.UNSURE


@pytest.mark.parametrize("code", [2104, 2111, 2199, 10167])
def test_remarks_leave_an_order_alone(code: int) -> None:
    assert order_effect(code) is OrderEffect.KEEP


@pytest.mark.parametrize("code", [110, 321])
def test_a_validation_error_on_a_working_order_is_about_its_change(code: int) -> None:
    assert order_effect(code) is OrderEffect.REJECT
    assert order_effect(code, acknowledged=True) is OrderEffect.CANCEL_FAILED
    assert order_effect(201, acknowledged=True) is OrderEffect.REJECT


@pytest.mark.parametrize(
    "code", [*numbers("399 404 10167 10090 10349 2100-2169 1100 1101 1102 1300 165 300 366 317 492 10197")]
)
def test_notices_end_no_request(code: int) -> None:
    assert is_notice(code)


@pytest.mark.parametrize(
    "code", [*numbers("200 162 321 322 354 101 309 420 10089 10168 10092 103 201 316 10182"), 77777]
)
def test_everything_else_ends_its_request(code: int) -> None:
    assert not is_notice(code)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, InvalidRequest),
        (321, InvalidRequest),
        (162, HistoryError),
        (354, PermissionDenied),
        (10168, PermissionDenied),
        (101, PermissionDenied),
        (10182, ConnectionFailed),
        (322, InvalidRequest),
        (323, Rejected),
        (88888, Rejected),
    ],
)
def test_a_request_raises_the_kind_of_the_table(code: int, kind: type[BrokerError]) -> None:
    error = error_for(code, "words", about="reqSomething")
    assert type(error) is kind
    assert (error.about, error.code) == ("reqSomething", str(code))
    assert "words" in error.text
    assert str(code) in error.text


def test_the_line_says_what_it_means_what_tws_said_and_what_to_do() -> None:
    line = words_for(201, "Order rejected - reason:\nInsufficient margin {x}")
    assert line == "委托被拒（201 Order rejected - reason: Insufficient margin {x}）；请看TWS给出的原因"
    assert words_for(77777, "odd") == "TWS提示77777（odd）"
    assert "没有说明原因" in words_for(201, "  ")


def test_foreign_words_stay_one_bounded_line() -> None:
    line = words_for(201, "a\r\nb" + "x" * 10_000)
    assert "\n" not in line
    assert len(line) < MAX_WORDS + 100


def test_history_tells_nothing_there_from_too_soon_from_failed() -> None:
    head = "Historical Market Data Service error message:"
    nothing = error_for(162, f"{head}HMDS query returned no data: AAPL@SMART Trades", about="h")
    too_soon = error_for(162, f"{head}API historical data query pacing violation", about="h")
    refused = error_for(162, f"{head}No market data permissions for ISLAND STK", about="h")
    other = error_for(200, "no data, pacing", about="h")
    assert [is_no_data(error) for error in (nothing, too_soon, refused, other)] == [True, False, False, False]
    assert [is_pacing(error) for error in (nothing, too_soon, refused, other)] == [False, True, False, False]


def test_lookup_is_by_number() -> None:
    assert BY_CODE[326].action == "F"
    assert BY_CODE[10242].meaning == BY_CODE[10252].meaning
    assert BY_CODE[10244].meaning != BY_CODE[10252].meaning
