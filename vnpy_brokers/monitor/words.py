"""What the monitor says of a gateway, as text: the same in the page, in the lamps and in tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from vnpy_brokerkit.async_gateway import database_zone
from vnpy_brokerkit.findings import Kind, Report
from vnpy_brokerkit.health import Health
from vnpy_brokerkit.i18n import N_, _
from vnpy_brokerkit.journal_reader import Standing
from vnpy_brokerkit.journal_rows import Step
from vnpy_brokerkit.lifecycle import STATE2VT, State

NOTHING = "—"


class Marked(NamedTuple):
    """A text that is translated where it is shown."""

    text: str


KIND2REMARK: Mapping[Kind, Marked] = {
    Kind.ADOPTED: Marked(N_("在别处或此前下的委托，已显示")),
    Kind.SETTLED: Marked(N_("结果曾未知，现已核实")),
    Kind.MISSING: Marked(N_("券商列表中没有，保持原状")),
    Kind.FILLED: Marked(N_("断线期间的成交，已补记")),
    Kind.UNTOLD: Marked(N_("成交数量多于成交明细，请核对")),
    Kind.UNKNOWN: Marked(N_("结果仍未知，请勿重复下单")),
}


def lamp_word(health: Health) -> str:
    """The lamp in one word, with the seconds to the next try."""
    word = _(health.lamp.value)
    if health.next_try is not None:
        word = _("{}（{:.0f}秒后重试）").format(word, health.next_try)
    return _("紧急停止 · {}").format(word) if health.stopped else word


def marks(health: Health) -> list[str]:
    """What a person must not overlook beside the lamp."""
    return [
        *([_("模拟")] if health.embedded else []),
        *([_("只读")] if health.read_only else []),
    ]


def remark(health: Health) -> str:
    """The words of the lamp; never empty."""
    return health.words or _("行情、委托与资金均正常")


def figures(health: Health, now: datetime) -> list[tuple[str, str]]:
    """The figures of a card: heading and value."""
    limit = f"{health.subscriptions} / {health.subscriptions_most}" if health.subscriptions_most else NOTHING
    return [
        (_("最近心跳"), _heartbeat(health.heartbeat, now)),
        (_("往返延迟"), NOTHING if health.latency is None else latency(health.latency)),
        (_("行情订阅"), limit),
        (_("活动委托"), str(health.working)),
        (_("结果未知"), str(health.unknown)),
    ]


def latency(seconds: float) -> str:
    """A round trip, in the unit that a person reads."""
    return _("{:.1f} 毫秒").format(seconds * 1000) if seconds < 1 else _("{:.1f} 秒").format(seconds)


def clock_time(at: datetime) -> str:
    """The time of day in vn.py's zone."""
    return f"{at.astimezone(database_zone()):%H:%M:%S}"


def _heartbeat(heard: datetime | None, now: datetime) -> str:
    if heard is None:
        return NOTHING
    return _("{}（{:.0f}秒前）").format(clock_time(heard), max(0.0, (now - heard).total_seconds()))


def report_rows(gateway_name: str, report: Report) -> list[tuple[str, ...]]:
    """A reconciliation as rows: gateway, time, occasion, what was found, contract, remark, order."""
    head = (gateway_name, clock_time(report.ended), _(report.occasion.value))
    rows: list[tuple[str, ...]] = [
        (*head, _(found.kind.value), found.vt_symbol, found.text or _(KIND2REMARK[found.kind].text), found.orderid)
        for found in report.findings
    ]
    if not report.complete:
        rows.insert(0, (*head, _("没有读完"), "", _("有列表没有读完，将自动重试"), ""))
    return rows or [(*head, _("一致"), "", "", "")]


def order_state(step: Step, state: State) -> str:
    """Where an attempt at an order stands."""
    if step is Step.REFUSED:
        return _("未发出")
    if state is State.UNKNOWN:
        return _("结果未知")
    return str(STATE2VT[state].value)


def standings(text: str) -> list[Standing]:
    """What stands so that the text occurs in its word; none for no text."""
    wanted = text.casefold()
    every = ((step, state) for step in Step for state in State)
    return [standing for standing in every if wanted and wanted in order_state(*standing).casefold()]
