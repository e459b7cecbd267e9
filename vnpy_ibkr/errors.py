"""TWS's codes and what they mean for us: one table (reference "tws-api", section 9).

A code comes under a request's id, an order's id, or none. For a request the question is whether the code ends it and
as which error; for an order, whether it changes the order at all. Most codes under an order's id are remarks about an
order that lives on, so only a code that this table knows as a refusal ends one, and the broker's status after it has
the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from vnpy_brokerkit.errors import (
    BrokerError,
    ConnectionFailed,
    HistoryError,
    InvalidRequest,
    PermissionDenied,
    Rejected,
    UnknownOutcome,
)
from vnpy_brokerkit.i18n import N_, _

MAX_WORDS = 200
"""TWS's own text is cut to this many characters in a message."""

Action = Literal["F", "R", "RS", "I", "W", "X", "XW", "XM", "C", "M", "Q"]
"""The reference's legend.

F fatal for the connection, R reconnect, RS resubscribe, I log only, W warn and go on, X refused, XW refused or waiting
in TWS for a person, XM a new order refused or only its change failed, C cancelled, M only the change or cancel failed,
Q the request failed.
"""


class OrderEffect(Enum):
    """What a code under an order's id does to the order."""

    KEEP = auto()
    """A remark; the order lives on."""
    REJECT = auto()
    CANCEL = auto()
    CANCEL_FAILED = auto()
    """The cancel (or change) failed; the order stays what it was, which open orders will tell."""
    UNSURE = auto()
    """Keep the order and ask for the open orders: it may wait in TWS, or nobody knows the code."""


@dataclass(frozen=True)
class TwsCode:
    """One code of TWS. The three texts are Chinese message ids, to be passed through gettext."""

    code: int
    meaning: str
    gateway_does: str
    user_does: str
    action: Action
    kind: type[BrokerError]
    """What a request that ends with this code raises."""


def _all(
    codes: Iterable[int], meaning: str, gateway_does: str, user_does: str, action: Action, kind: type[BrokerError]
) -> tuple[TwsCode, ...]:
    """One entry for each of the codes that share their words."""
    return tuple(TwsCode(code, meaning, gateway_does, user_does, action, kind) for code in codes)


_LOG = N_("只记录日志")
_LIVES = N_("委托继续有效，记录一行日志")
_REFUSED = N_("委托标为拒单，原因写入日志")
_MAY_WAIT = N_("委托保持不变，向TWS核对：它可能正在TWS中等待人工确认")
_CHANGE_FAILED = N_("撤单或改单未生效，委托保持不变，向TWS核对")
_REFUSED_OR_CHANGE = N_("新委托标为拒单；撤单或改单失败时委托保持不变")
_FAILED = N_("该请求失败，记录一行日志")
_WAIT_FOR_LINK = N_("行情标为中断，等待TWS恢复，期间不下新单")
_RECONNECT = N_("自动重连")
_RESUBSCRIBE = N_("自动重新订阅")
_STOP = N_("记录一行日志，继续重连")

_NOTHING = N_("无需操作")
_SEE_WORDS = N_("请看TWS给出的原因")
_CHECK_ORDER = N_("请核对委托的价格、数量、类型与有效期")
_CHECK_SYMBOL = N_("请核对代码、交易所与到期日")
_CHECK_PRESETS = N_("请在TWS中确认或撤销该委托，或在API设置中勾选“忽略API委托的预防设置”")
_CHECK_TWS = N_("请检查TWS或IB Gateway是否已启动、已登录并已启用API")
_SUBSCRIBE = N_("请在盈透客户端门户订阅该行情，或把“行情类型”设为可用延迟")
_ASK_PERMISSION = N_("请在盈透客户端门户申请相应的交易权限")
_CLOSE_OTHER = N_("请关闭占用者，或更换“客户号”")
_REPORT = N_("请升级本插件或TWS；仍出现时请附日志反馈")

CODES: tuple[TwsCode, ...] = (
    # Connection and system (9.1)
    TwsCode(
        1100, N_("TWS与盈透服务器的连接中断"), _WAIT_FOR_LINK, N_("请检查网络，或是否在别处登录"), "W", ConnectionFailed
    ),
    TwsCode(
        1101,
        N_("TWS已恢复连接，行情订阅丢失"),
        N_("重新订阅全部行情，核对委托、成交与持仓"),
        _NOTHING,
        "RS",
        ConnectionFailed,
    ),
    TwsCode(1102, N_("TWS已恢复连接，行情订阅保留"), N_("核对委托、成交与持仓"), _NOTHING, "I", ConnectionFailed),
    TwsCode(
        1300, N_("TWS的API端口已修改"), _STOP, N_("请按TWS给出的新端口修改“TWS端口”后重新连接"), "F", ConnectionFailed
    ),
    TwsCode(2100, N_("账户数据订阅被取消"), _LOG, _NOTHING, "I", Rejected),
    *_all(
        (2103, 2105, 2157),
        N_("盈透数据中心连接中断"),
        N_("相关行情标为中断，恢复前不作为依据"),
        _NOTHING,
        "W",
        ConnectionFailed,
    ),
    *_all((2104, 2106, 2158), N_("盈透数据中心连接正常"), _LOG, _NOTHING, "I", ConnectionFailed),
    *_all((2107, 2108, 2159), N_("盈透数据中心待命，需要时自动连接"), _LOG, _NOTHING, "I", ConnectionFailed),
    TwsCode(2110, N_("TWS与盈透服务器的连接中断，将自动恢复"), _WAIT_FOR_LINK, N_("请检查网络"), "W", ConnectionFailed),
    TwsCode(2119, N_("正在连接盈透数据中心"), _LOG, _NOTHING, "I", ConnectionFailed),
    TwsCode(501, N_("已经连接"), _LOG, _NOTHING, "I", ConnectionFailed),
    TwsCode(502, N_("无法连接TWS"), _RECONNECT, _CHECK_TWS, "R", ConnectionFailed),
    TwsCode(503, N_("TWS版本过旧"), _STOP, N_("请升级TWS或IB Gateway"), "F", ConnectionFailed),
    TwsCode(504, N_("未连接TWS"), _RECONNECT, _CHECK_TWS, "R", ConnectionFailed),
    TwsCode(505, N_("TWS不认识该消息"), _LOG, _REPORT, "I", InvalidRequest),
    TwsCode(
        507,
        N_("TWS关闭了连接，常见于客户号已被占用或本机不在受信任IP中"),
        _RECONNECT,
        _CLOSE_OTHER,
        "R",
        ConnectionFailed,
    ),
    TwsCode(326, N_("客户号已被占用"), N_("间隔逐渐加长地重连"), _CLOSE_OTHER, "F", ConnectionFailed),
    TwsCode(100, N_("每秒消息超过50条"), N_("自动限速"), N_("请减少同时运行的API程序"), "W", Rejected),
    TwsCode(10182, N_("该请求的实时更新中断"), _RESUBSCRIBE, _NOTHING, "RS", ConnectionFailed),
    TwsCode(
        10197,
        N_("同一用户在别处登录，占用了行情"),
        N_("行情标为中断，稍后重试"),
        N_("请退出另一处登录"),
        "W",
        PermissionDenied,
    ),
    TwsCode(10225, N_("成交撤销，K线订阅失效"), _RESUBSCRIBE, _NOTHING, "RS", Rejected),
    TwsCode(10328, N_("连接中断，委托状态未知"), N_("委托保持不变，重连后核对"), _NOTHING, "XW", UnknownOutcome),
    # Orders (9.2)
    TwsCode(
        103,
        N_("委托编号重复"),
        N_("委托标为拒单，取得新编号"),
        N_("请重新下单；请勿让两个程序共用同一客户号"),
        "X",
        Rejected,
    ),
    *_all((104, 105), N_("委托不能这样修改"), _CHANGE_FAILED, _NOTHING, "M", Rejected),
    *_all((106, 107), N_("委托不完整，无法发送"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    *_all((109, 163), N_("价格超出TWS预防设置的范围"), _MAY_WAIT, _CHECK_PRESETS, "XW", Rejected),
    TwsCode(110, N_("价格不在最小变动价位上"), _REFUSED_OR_CHANGE, N_("请按最小变动价位报价"), "XM", Rejected),
    *_all(
        (111, 113, 116, 129, 131),
        N_("委托类型、有效期、时段与价格的组合不被接受"),
        _REFUSED,
        _CHECK_ORDER,
        "X",
        Rejected,
    ),
    TwsCode(133, N_("提交委托失败"), _REFUSED, _SEE_WORDS, "X", Rejected),
    TwsCode(134, N_("修改委托失败"), _CHANGE_FAILED, _SEE_WORDS, "M", Rejected),
    *_all((135, 10147), N_("找不到要撤的委托"), _CHANGE_FAILED, N_("请等待核对结果，通常它已结束"), "M", Rejected),
    *_all((136, 160, 161, 10148), N_("委托在当前状态下不能撤销"), _CHANGE_FAILED, N_("请等待核对结果"), "M", Rejected),
    *_all(
        (140, 141, 145, 146, 154),
        N_("委托的数量、价格或触发方式无效，或证券停牌"),
        _REFUSED,
        _CHECK_ORDER,
        "X",
        Rejected,
    ),
    TwsCode(151, N_("委托的有效时间无效"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    TwsCode(166, N_("合约已到期"), _REFUSED, _CHECK_SYMBOL, "X", Rejected),
    TwsCode(
        200,
        N_("没有这个合约，或描述不唯一"),
        N_("请求失败，一分钟内不再查询该代码；委托标为拒单"),
        _CHECK_SYMBOL,
        "X",
        InvalidRequest,
    ),
    TwsCode(201, N_("委托被拒"), _REFUSED, _SEE_WORDS, "X", Rejected),
    TwsCode(202, N_("委托已撤销"), N_("委托标为已撤销"), _SEE_WORDS, "C", Rejected),
    TwsCode(203, N_("该账户不能交易这个证券"), _REFUSED, _ASK_PERMISSION, "X", PermissionDenied),
    TwsCode(
        321,
        N_("TWS校验未通过，或API设为只读"),
        _REFUSED_OR_CHANGE,
        N_("请看TWS给出的原因；需要交易时取消TWS设置中的“只读API”"),
        "XM",
        InvalidRequest,
    ),
    TwsCode(328, N_("不符合追踪止损委托的附加规则"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    TwsCode(329, N_("委托类型不能修改"), _CHANGE_FAILED, _NOTHING, "M", Rejected),
    *_all(range(347, 354), N_("卖空的券源设置有误"), _REFUSED, _SEE_WORDS, "X", Rejected),
    TwsCode(355, N_("数量不符合每手股数"), _REFUSED, N_("请按每手股数的整数倍下单"), "X", Rejected),
    *_all((*range(361, 365), 403), N_("止损价无效"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    *_all((382, 383), N_("价格或数量超出TWS预防设置"), _MAY_WAIT, _CHECK_PRESETS, "XW", Rejected),
    TwsCode(387, N_("这里不支持该委托类型"), _REFUSED, N_("请改用限价单"), "X", Rejected),
    TwsCode(388, N_("数量低于最小值"), _REFUSED, N_("请增加数量"), "X", Rejected),
    TwsCode(392, N_("委托或合约已过期"), _REFUSED, _CHECK_SYMBOL, "X", Rejected),
    TwsCode(399, N_("委托提示，例如到开盘才发往交易所"), _LIVES, _SEE_WORDS, "W", Rejected),
    TwsCode(404, N_("暂无可借股票，卖空委托等待中"), _LIVES, N_("可等待或撤单"), "W", Rejected),
    *_all((411, 2109), N_("盘前盘后标志对该委托无效"), _LIVES, _NOTHING, "W", Rejected),
    TwsCode(412, N_("合约不可交易"), _REFUSED, _CHECK_SYMBOL, "X", Rejected),
    TwsCode(413, N_("试算委托必须带发送标志"), _FAILED, _REPORT, "Q", InvalidRequest),
    *_all((425, 426), N_("可卖股数不足，该账户不能卖空"), _REFUSED, N_("请减少数量"), "X", Rejected),
    TwsCode(434, N_("委托数量为零"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    *_all((435, 436), N_("没有指明账户或分配方式"), _REFUSED, N_("请填写“交易账户”后重新连接"), "X", InvalidRequest),
    *_all(range(439, 444), N_("算法委托的参数有误"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    TwsCode(460, N_("没有交易权限"), _REFUSED, _ASK_PERMISSION, "X", PermissionDenied),
    TwsCode(481, N_("数量因权限被减少"), _LIVES, _SEE_WORDS, "W", Rejected),
    TwsCode(585, N_("不再支持顾问档案"), _REFUSED, N_("请改用顾问组"), "X", InvalidRequest),
    TwsCode(10006, N_("找不到主委托"), _REFUSED, _CHECK_ORDER, "X", Rejected),
    TwsCode(10015, N_("该账户不允许通过API交易"), _REFUSED, _ASK_PERMISSION, "X", PermissionDenied),
    *_all(
        (10242, 10243, *range(10245, 10253), 10285, 10318),
        N_("不接受碎股"),
        _REFUSED,
        N_("请按整数股下单"),
        "X",
        Rejected,
    ),
    *_all(
        (10244, 10289, 10290, 10293), N_("按金额委托不被允许，或必须按金额委托"), _REFUSED, _CHECK_ORDER, "X", Rejected
    ),
    *_all((10268, 10269, 10270, 10340), N_("委托带有不再支持的属性"), _REFUSED, _REPORT, "X", InvalidRequest),
    *_all((10311, 10329), N_("直接指定交易所的委托需要确认"), _MAY_WAIT, _CHECK_PRESETS, "XW", Rejected),
    *_all((10346, 10347), N_("委托提示，例如流动性有限"), _LIVES, _SEE_WORDS, "W", Rejected),
    TwsCode(10349, N_("TWS的预设改动了有效期"), _LIVES, _NOTHING, "W", Rejected),
    TwsCode(2102, N_("委托仍在处理中，暂不能修改"), _CHANGE_FAILED, N_("请稍后再撤"), "M", Rejected),
    TwsCode(2137, N_("卖出将使持仓转为空头"), _LIVES, N_("请核对持仓"), "W", Rejected),
    *_all((2148, 2168, 2169), N_("委托提示"), _LIVES, _SEE_WORDS, "W", Rejected),
    # Data and requests (9.3)
    TwsCode(
        101,
        N_("行情订阅数已满"),
        N_("释放最久未用的订阅，否则该代码没有行情"),
        N_("请减少订阅或购买行情额度"),
        "Q",
        PermissionDenied,
    ),
    *_all((102, 322, 385, 386), N_("请求编号重复或同类请求过多"), _FAILED, _REPORT, "Q", InvalidRequest),
    TwsCode(
        162,
        N_("历史数据查询失败"),
        N_("请求过密时等待后重试；没有数据时为空；其他原因则下载失败"),
        N_("请看TWS给出的原因；请把TWS的API信息语言设为英语"),
        "Q",
        HistoryError,
    ),
    *_all((164, 165), N_("历史数据服务的提示"), _LOG, _NOTHING, "I", HistoryError),
    *_all((300, 310, 365, 366), N_("要取消的请求已不存在"), _LOG, _NOTHING, "I", InvalidRequest),
    TwsCode(309, N_("深度行情订阅数已满"), N_("只用一档行情"), N_("请减少深度订阅"), "Q", PermissionDenied),
    TwsCode(316, N_("深度行情中断"), _RESUBSCRIBE, _NOTHING, "RS", ConnectionFailed),
    TwsCode(317, N_("深度行情重置"), N_("清空盘口，等待新数据"), _NOTHING, "I", ConnectionFailed),
    *_all((319, 320), N_("TWS无法读取该消息"), _FAILED, _REPORT, "Q", InvalidRequest),
    TwsCode(323, N_("TWS内部错误"), _FAILED, _SEE_WORDS, "Q", Rejected),
    TwsCode(327, N_("只有客户号0可以绑定手工委托"), _LOG, _REPORT, "I", InvalidRequest),
    *_all((336, 337, 343, 391, 10314), N_("日期时间格式有误"), _FAILED, _REPORT, "Q", InvalidRequest),
    TwsCode(354, N_("没有订阅该行情"), N_("设置允许时改用延迟行情"), _SUBSCRIBE, "Q", PermissionDenied),
    TwsCode(414, N_("快照不能带附加行情"), _FAILED, _REPORT, "Q", InvalidRequest),
    TwsCode(420, N_("实时查询无效、过密或没有权限"), _FAILED, _SUBSCRIBE, "Q", PermissionDenied),
    TwsCode(430, N_("没有基本面数据"), _FAILED, _NOTHING, "Q", InvalidRequest),
    TwsCode(492, N_("扫描器缺少部分行情权限"), _LOG, _SUBSCRIBE, "W", PermissionDenied),
    *_all((509, 512), N_("与TWS收发数据时出错"), _RECONNECT, _CHECK_TWS, "R", ConnectionFailed),
    TwsCode(579, N_("代码中有无效字符"), _FAILED, _CHECK_SYMBOL, "Q", InvalidRequest),
    *_all(
        (10089, 10091),
        N_("该行情需要API订阅，有延迟行情"),
        N_("设置允许时改用延迟行情"),
        _SUBSCRIBE,
        "Q",
        PermissionDenied,
    ),
    TwsCode(10090, N_("部分行情没有订阅"), N_("其余行情继续，记录一行日志"), _SUBSCRIBE, "W", PermissionDenied),
    TwsCode(10092, N_("该合约不支持深度行情"), N_("只用一档行情"), _NOTHING, "Q", InvalidRequest),
    TwsCode(
        10167, N_("没有订阅实时行情，显示延迟行情"), N_("行情标为延迟，记录一行日志"), _SUBSCRIBE, "W", PermissionDenied
    ),
    *_all(
        (10168, 10186),
        N_("没有订阅该行情，也未启用延迟行情"),
        N_("设置允许时改用延迟行情"),
        _SUBSCRIBE,
        "Q",
        PermissionDenied,
    ),
    *_all((10187, 10189, 10190), N_("逐笔行情没有权限或过多"), _FAILED, _SUBSCRIBE, "Q", PermissionDenied),
    *_all((10230, 10231), N_("顾问配置有误"), _FAILED, _SEE_WORDS, "Q", InvalidRequest),
    TwsCode(10276, N_("没有资讯权限"), _FAILED, _NOTHING, "Q", PermissionDenied),
    TwsCode(10299, N_("该合约的历史数据须用AGGTRADES"), _FAILED, _REPORT, "Q", InvalidRequest),
    TwsCode(10339, N_("连续合约不能指定结束时间"), _FAILED, _CHECK_SYMBOL, "Q", InvalidRequest),
    TwsCode(2101, N_("账户数据已由另一程序订阅"), _LOG, N_("请关闭另一程序"), "W", Rejected),
    TwsCode(2152, N_("部分交易所的深度行情没有权限"), _LOG, _NOTHING, "I", PermissionDenied),
)

BY_CODE: Mapping[int, TwsCode] = {entry.code: entry for entry in CODES}

NOTICES = range(2100, 2200)
"""Codes of this family are warnings, also those that the table does not name (section 18)."""
FARMS_BROKEN = frozenset((2103, 2105, 2157))
FARMS_OK = frozenset((2104, 2106, 2158))
NO_LIVE_DATA = frozenset((354, 10089, 10091, 10168, 10186))
"""The right to live quotes is missing: ask for delayed ones (section 9.4)."""

_SYSTEM = frozenset((1100, 1101, 1102, 1300))
_EFFECTS: Mapping[Action, OrderEffect] = {
    "I": OrderEffect.KEEP,
    "W": OrderEffect.KEEP,
    "X": OrderEffect.REJECT,
    "XM": OrderEffect.REJECT,
    "C": OrderEffect.CANCEL,
    "M": OrderEffect.CANCEL_FAILED,
}


def is_notice(code: int) -> bool:
    """Say whether a code never ends a request: remarks, and news of the connection as a whole."""
    entry = BY_CODE.get(code)
    return code in NOTICES or code in _SYSTEM or (entry is not None and entry.action in ("W", "I"))


def order_effect(code: int, *, acknowledged: bool = False) -> OrderEffect:
    """Say what a code under an order's id does to it.

    ``acknowledged``: the broker had accepted the order before. A validation error under such an id can only be about
    its change or cancel.
    """
    entry = BY_CODE.get(code)
    if entry is None:
        return OrderEffect.KEEP if code in NOTICES else OrderEffect.UNSURE
    if entry.action == "XM" and acknowledged:
        return OrderEffect.CANCEL_FAILED
    return _EFFECTS.get(entry.action, OrderEffect.UNSURE)


def words_for(code: int, text: str) -> str:
    """Return one line for people: what the code means, TWS's own words, and the remedy."""
    said = " ".join(text.split())[:MAX_WORDS] or _("没有说明原因")
    entry = BY_CODE.get(code)
    if entry is None:
        return _("TWS提示{code}（{said}）").format(code=code, said=said)
    return _("{meaning}（{code} {said}）；{remedy}").format(
        meaning=_(entry.meaning), code=code, said=said, remedy=_(entry.user_does)
    )


def error_for(code: int, text: str, *, about: str) -> BrokerError:
    """Translate the code that ended a request into the error to raise. ``about`` is the request's name."""
    entry = BY_CODE.get(code)
    kind = entry.kind if entry else Rejected
    return kind(words_for(code, text), about=about, code=str(code))


def is_no_data(error: BrokerError) -> bool:
    """Say whether a history request failed because there is nothing in its window (162, by its words)."""
    return error.code == "162" and "no data" in error.text.lower()


def is_pacing(error: BrokerError) -> bool:
    """Say whether a history request came too soon after others (162, by its words)."""
    return error.code == "162" and "pacing" in error.text.lower()
