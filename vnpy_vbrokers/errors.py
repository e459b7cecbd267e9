"""The Gateway's error codes and what they mean for us: one table (vbrokers-openapi 12.1 and 12.2).

A read and a mutation read the same code differently. For a read the question is which error it is and whether asking
again can help. For a mutation it is whether the broker certainly did nothing: only the codes of "clear rejection" and
plain words say so; everything else leaves the outcome unknown, and the order is settled from the broker's lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
from vnpy_brokerkit.i18n import N_, _

LOGIN_ROUTE = "/trade/TradeLogin"
MAX_WORDS = 200
"""The broker's own text is cut to this many characters in a message."""


@dataclass(frozen=True)
class BrokerCode:
    """One code of the Gateway. The three texts are Chinese message ids, to be passed through gettext."""

    code: str
    meaning: str
    gateway_does: str
    user_does: str
    kind: type[BrokerError]
    """What a read raises, and a mutation too unless the code is ambiguous."""
    ambiguous: bool = False
    """True: a mutation answered so may have been carried out."""
    retry_read: bool = False
    relogin: bool = False


_NO_RETRY = N_("不重试，记录一行日志")
_RETRY = N_("查询自动重试；委托与撤单不重发，按结果未知核对")
_RELOGIN = N_("自动重新登录一次后再查询；委托不重发")
_REFUSED = N_("委托标为拒单，原因写入日志")
_CHECK_GATEWAY = N_("请在OpenAPI Gateway程序中检查其状态与网络")
_REPORT = N_("请升级本插件或Gateway；仍出现时请附日志反馈")

CODES: tuple[BrokerCode, ...] = (
    BrokerCode("1001", N_("系统未知错误"), _NO_RETRY, N_("请稍后再试，仍出现时联系券商"), Rejected, ambiguous=True),
    BrokerCode("1002", N_("签名错误"), _NO_RETRY, N_("请在Gateway中检查开发者密钥"), LoginFailed, ambiguous=True),
    BrokerCode("1003", N_("加密错误"), _NO_RETRY, N_("请在Gateway中检查开发者密钥"), LoginFailed, ambiguous=True),
    BrokerCode("1004", N_("Gateway尚未连上券商"), _NO_RETRY, _CHECK_GATEWAY, ConnectionFailed, ambiguous=True),
    BrokerCode("1005", N_("接口已停用"), _NO_RETRY, _REPORT, InvalidRequest),
    BrokerCode(
        "1006",
        N_("没有权限"),
        N_("该市场或行情停用，记录一行日志"),
        N_("请在华盛通App中开通相应的交易或行情权限"),
        PermissionDenied,
    ),
    BrokerCode("1007", N_("重复提交"), _NO_RETRY, N_("请等待核对结果"), Rejected, ambiguous=True),
    BrokerCode("1008", N_("调用失败"), _NO_RETRY, N_("请看券商给出的原因"), Rejected, ambiguous=True),
    BrokerCode("1009", N_("接口不存在"), _NO_RETRY, _REPORT, InvalidRequest),
    BrokerCode("1010", N_("非法请求"), _NO_RETRY, _REPORT, InvalidRequest),
    BrokerCode("1011", N_("系统繁忙"), _RETRY, N_("请稍候"), TimedOut, ambiguous=True, retry_read=True),
    BrokerCode("1012", N_("未登录"), _RELOGIN, N_("请检查交易密码"), LoginFailed, relogin=True),
    BrokerCode(
        "1013",
        N_("登录被挤下线"),
        N_("只重新登录一次；一小时内再被挤下线则告警，等待5至30分钟后再登录"),
        N_("请关闭其他使用同一账号的OpenAPI程序"),
        LoginFailed,
        relogin=True,
    ),
    BrokerCode("1014", N_("登录超时"), _RELOGIN, N_("无需操作"), LoginFailed, relogin=True),
    BrokerCode("1015", N_("调用超时"), _RETRY, N_("请稍候"), TimedOut, ambiguous=True, retry_read=True),
    BrokerCode("1016", N_("参数错误"), _NO_RETRY, N_("请核对代码、价格与数量"), InvalidRequest),
    BrokerCode(
        "1017", N_("Gateway与券商的连接失败"), _RETRY, _CHECK_GATEWAY, ConnectionFailed, ambiguous=True, retry_read=True
    ),
    BrokerCode(
        "1018", N_("Gateway正在重连券商"), _RETRY, _CHECK_GATEWAY, ConnectionFailed, ambiguous=True, retry_read=True
    ),
    BrokerCode("2001", N_("缺少参数"), _NO_RETRY, _REPORT, InvalidRequest),
    BrokerCode("2002", N_("参数值无效"), _NO_RETRY, N_("请核对代码、价格与数量"), InvalidRequest),
    BrokerCode("3001", N_("未登录或登录已过期"), _RELOGIN, N_("请检查交易密码"), LoginFailed, relogin=True),
    BrokerCode("3002", N_("购买力不足"), _REFUSED, N_("请减少数量或增加资金"), Rejected),
    BrokerCode("4001", N_("市场已休市"), _REFUSED, N_("请在交易时段内委托"), Rejected),
    BrokerCode("4002", N_("交易所拒绝"), _REFUSED, N_("请看券商给出的原因"), Rejected),
    BrokerCode("20033", N_("期货登录超时"), _RELOGIN, N_("无需操作"), LoginFailed, relogin=True),
    BrokerCode("40001", N_("查询产品失败"), _NO_RETRY, N_("请核对代码"), InvalidRequest, ambiguous=True),
    BrokerCode("40002", N_("查询合约失败"), _NO_RETRY, N_("请核对代码"), InvalidRequest, ambiguous=True),
)

BY_CODE: dict[str, BrokerCode] = {entry.code: entry for entry in CODES}

CLEAR_RANGE = range(2001, 4003)
"""Codes of this family are refusals, also those that the table does not name (vbrokers-openapi 12.2)."""

WORDS_FOR_CODE: tuple[tuple[str, str], ...] = (("未登录", "1012"), ("登录超时", "1014"), ("挤下线", "1013"))
"""What a reply without a number says when the session is gone (vbrokers-openapi 2.2)."""

# Longer runs of digits and decimal fractions are quantities and prices in a sentence, not codes.
_LEADING_CODE = re.compile(r"\s*\[?(\d{4,5})(?![\d.])", re.ASCII)


def code_of(err_text: str) -> str:
    """Take the Gateway's code out of ``err``: its leading number, else by its words, else ``""``."""
    found = _LEADING_CODE.match(err_text)
    if found:
        return found[1]
    return next((code for words, code in WORDS_FOR_CODE if words in err_text), "")


def error_for(err_text: str, *, about: str, mutation: bool) -> BrokerError:
    """Translate the ``err`` of an ``ok: false`` reply into the error to raise.

    ``about`` is the route; ``mutation`` tells which half of the table counts. A mutation's UnknownOutcome means that
    it may have been carried out, every other class that it certainly was not.
    """
    words = " ".join(err_text.split())[:MAX_WORDS]
    code = code_of(err_text)
    entry = BY_CODE.get(code)
    said = words or _("没有说明原因")
    if mutation and _is_ambiguous(code, entry, words):
        meaning = _(entry.meaning) if entry else _("未知的应答")
        text = _("结果未知：{meaning}（{said}），将向券商核对，不会重发").format(meaning=meaning, said=said)
        return UnknownOutcome(text, about=about, code=code)
    kind: type[BrokerError]
    if entry is None:
        text, kind = _("券商拒绝：{said}").format(said=said), Rejected
    else:
        text = _("{meaning}（{said}）；{remedy}").format(meaning=_(entry.meaning), said=said, remedy=_(entry.user_does))
        kind = entry.kind
    if about == LOGIN_ROUTE and kind is Rejected:
        # Which code a wrong password gets is not documented (vbrokers-openapi 3.1): any plain refusal may be one, and
        # asking again and again could lock the account.
        kind = LoginFailed
    return kind(text, about=about, code=code)


def _is_ambiguous(code: str, entry: BrokerCode | None, words: str) -> bool:
    if entry:
        return entry.ambiguous
    if code:
        return int(code) not in CLEAR_RANGE
    return not words


def may_ask_again(error: BrokerError) -> bool:
    """Say whether a read, a login or a subscription that failed so is worth another try (vbrokers-openapi 12.2)."""
    if error.code:
        entry = BY_CODE.get(error.code)
        return entry is not None and entry.retry_read
    return isinstance(error, ConnectionFailed | TimedOut | ProtocolError)


def needs_login(error: BrokerError) -> bool:
    """Say whether the session is gone: log in once, then a read may be asked once more."""
    entry = BY_CODE.get(error.code)
    return entry is not None and entry.relogin
