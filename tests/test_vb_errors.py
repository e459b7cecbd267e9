"""The Gateway's codes: every one of the reference, and what each means for a read and for a mutation."""

from __future__ import annotations

import pytest

from vnpy_brokerkit.errors import (
    BrokerError,
    ConnectionFailed,
    InvalidRequest,
    LoginFailed,
    PermissionDenied,
    ProtocolError,
    Rejected,
    TimedOut,
    UnknownOutcome,
)
from vnpy_vbrokers.errors import (
    BY_CODE,
    CODES,
    LOGIN_ROUTE,
    MAX_WORDS,
    BrokerCode,
    code_of,
    error_for,
    may_ask_again,
    needs_login,
)

ORDER = "/trade/TradeEntrust"
LIST = "/trade/TradeQueryRealEntrustList"

# vbrokers-openapi 12.1, without 0000 (success), and the second family below it.
DOCUMENTED = [str(code) for code in range(1001, 1019)] + ["20033", "40001", "40002"]
SECOND_FAMILY = ["2001", "2002", "3001", "3002", "4001", "4002"]
# vbrokers-openapi 12.2, "Clear rejection" and "Ambiguous".
CLEAR = ["1005", "1006", "1009", "1010", "1012", "1013", "1014", "1016", "20033", *SECOND_FAMILY]
AMBIGUOUS = ["1001", "1007", "1008", "1011", "1015", "1017", "1018"]


def test_the_table_names_each_documented_code_once() -> None:
    codes = [entry.code for entry in CODES]
    assert sorted(codes) == sorted(DOCUMENTED + SECOND_FAMILY)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("entry", CODES, ids=lambda entry: entry.code)
def test_every_entry_says_what_to_do(entry: BrokerCode) -> None:
    assert entry.meaning
    assert entry.gateway_does
    assert entry.user_does


@pytest.mark.parametrize("code", CLEAR)
def test_a_clear_refusal_ends_a_mutation(code: str) -> None:
    error = error_for(f"{code} 原因", about=ORDER, mutation=True)
    assert not isinstance(error, UnknownOutcome | ConnectionFailed | ProtocolError)
    assert (error.code, error.about) == (code, ORDER)


@pytest.mark.parametrize(
    "code", [*AMBIGUOUS, "1002", "1003", "1004", "40001", "40002", "0000", "1019", "9999", "50000"]
)
def test_what_is_no_clear_refusal_leaves_a_mutation_unknown(code: str) -> None:
    error = error_for(f"{code} 原因", about=ORDER, mutation=True)
    assert isinstance(error, UnknownOutcome)
    assert error.code == code


@pytest.mark.parametrize("code", ["2003", "3999", "4000"])
def test_unnamed_codes_of_the_second_family_are_refusals(code: str) -> None:
    assert type(error_for(f"{code} 原因", about=ORDER, mutation=True)) is Rejected


def test_plain_words_refuse_and_silence_does_not() -> None:
    refused = error_for("可卖数量不足", about=ORDER, mutation=True)
    assert type(refused) is Rejected
    assert "可卖数量不足" in str(refused)
    assert type(error_for("", about=ORDER, mutation=True)) is UnknownOutcome
    assert type(error_for("  \n", about=ORDER, mutation=True)) is UnknownOutcome


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("1001", Rejected),
        ("1002", LoginFailed),
        ("1004", ConnectionFailed),
        ("1006", PermissionDenied),
        ("1009", InvalidRequest),
        ("1011", TimedOut),
        ("1012", LoginFailed),
        ("1015", TimedOut),
        ("1016", InvalidRequest),
        ("1017", ConnectionFailed),
        ("2001", InvalidRequest),
        ("3001", LoginFailed),
        ("4001", Rejected),
        ("7777", Rejected),
    ],
)
def test_a_read_raises_the_kind_of_the_table(code: str, kind: type[BrokerError]) -> None:
    assert type(error_for(f"{code} 原因", about=LIST, mutation=False)) is kind


@pytest.mark.parametrize(
    ("err", "code"),
    [
        ("1012", "1012"),
        ("1012 用户未登录", "1012"),
        ("  [1012] 用户未登录", "1012"),
        ("20033:期货登录超时", "20033"),
        ("用户未登录", "1012"),
        ("登录超时，请重新登录", "1014"),
        ("您已被挤下线", "1013"),
        ("购买力不足", ""),
        ("100000股超过上限", ""),
        ("1012.50不在最小价差上", ""),
        ("数量 1012", ""),
        ("１０１２ 全角", ""),
        ("", ""),
    ],
)
def test_the_code_is_the_leading_number_or_the_known_words(err: str, code: str) -> None:
    assert code_of(err) == code


@pytest.mark.parametrize("err", ["1008 交易密码错误", "密码错误", "4002 密码错误", ""])
def test_a_refused_login_is_a_login_failure(err: str) -> None:
    error = error_for(err, about=LOGIN_ROUTE, mutation=False)
    assert type(error) is LoginFailed
    assert not may_ask_again(error)


def test_a_busy_gateway_is_no_wrong_password() -> None:
    assert may_ask_again(error_for("1011", about=LOGIN_ROUTE, mutation=False))


def test_which_reads_are_asked_again() -> None:
    again = {code for code in BY_CODE if may_ask_again(error_for(code, about=LIST, mutation=False))}
    assert again == {"1011", "1015", "1017", "1018"}
    assert all(may_ask_again(error) for error in (ConnectionFailed("x"), TimedOut("x"), ProtocolError("x")))
    assert not may_ask_again(Rejected("x"))
    assert not may_ask_again(error_for("7777 原因", about=LIST, mutation=False))


def test_which_codes_ask_for_a_new_login() -> None:
    relogin = {code for code in BY_CODE if needs_login(error_for(code, about=LIST, mutation=False))}
    assert relogin == {"1012", "1013", "1014", "3001", "20033"}
    assert not needs_login(LoginFailed("x"))


def test_foreign_words_stay_one_bounded_line() -> None:
    error = error_for("4002 first\r\nsecond {remedy} " + "x" * 10_000, about=ORDER, mutation=True)
    assert "first second {remedy}" in error.text
    assert "\n" not in error.text
    assert len(error.text) < MAX_WORDS + 100
