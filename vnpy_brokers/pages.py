"""The pages of ``docs`` that are made from tables: ``python -m vnpy_brokers.pages`` writes them.

The broker's codes and the error tree stand in the source, once; here they become a page in English and one in Chinese.
"""

from __future__ import annotations

import gettext
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from vnpy_brokerkit import errors
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import LOCALE_DIR
from vnpy_brokerkit.timing import Timing
from vnpy_ibkr.errors import CODES as TWS_CODES
from vnpy_ibkr.errors import NOTICES, OrderEffect, TwsCode, order_effect
from vnpy_vbrokers.errors import CLEAR_RANGE, CODES, BrokerCode

NOT_OF_ORDERS = frozenset(("F", "R", "RS", "Q"))
"""Actions of TWS's codes that are about the connection or about a request that is no order."""

DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True)
class Wording:
    """What a page says around its tables, in one language."""

    head: str
    columns: Sequence[str]
    order_refused: str
    order_unknown: str
    after_codes: str
    tws_codes: str
    tws_columns: Sequence[str]
    tws_effects: Mapping[OrderEffect, str]
    once_accepted: str
    """Joins what a code does to a new order and to one that TWS had accepted, where that differs."""
    after_tws_codes: str
    unknown_orders: str
    error_tree: str
    translate: Callable[[str], str]
    """From a code's Chinese text to the page's language."""
    explain: Callable[[str], str]
    """From a docstring to the page's language."""


# The docstrings' Chinese, by the docstring: one that is changed there is missed here, and the page is not made.
DOCSTRING2CHINESE: Mapping[str, str] = {
    'Base of all. ``about`` names the request or message, ``code`` is the broker\'s own code or ``""``.': (
        '所有错误的基类。``about`` 是所涉及的请求或消息，``code`` 是券商自己的代码，没有则为 ``""``。'
    ),
    "Raised when no connection could be made: the request certainly did not leave this machine.": (
        "连接无法建立：请求肯定没有离开本机。"
    ),
    "Raised when the broker refuses the login, or the session ended and could not be renewed.": (
        "券商拒绝登录，或会话结束后未能重新登录。"
    ),
    "Raised when the account lacks the right to a market, to its quotes or to a function.": (
        "账户没有某个市场、其行情或某项功能的权限。"
    ),
    "Raised when a request is malformed for the broker; sending it again would fail the same way.": (
        "券商认为请求有误；再次发送结果相同。"
    ),
    "Raised when the broker clearly refuses an order or a cancel. Nothing is working because of it.": (
        "券商明确拒绝委托或撤单，没有因此产生有效委托。"
    ),
    "Raised when a request was sent and its outcome is not known. It must never be sent again by itself.": (
        "请求已发出而结果未知，绝不自动重发。"
    ),
    "Raised when no answer came in time. For a read it may be asked again; for a mutation it is unknown.": (
        "没有按时收到应答。查询可以再问；委托和撤单则结果未知。"
    ),
    "Raised when a reply or frame is not what the protocol documents (malformed, too large, wrong type).": (
        "应答或数据帧与协议不符（格式错误、过大、类型不对）。"
    ),
    "Raised when the order journal is corrupt, taken by another process or cannot be written. Nothing was sent.": (
        "委托日志损坏、被另一个进程占用或无法写入时。没有发出任何委托。"
    ),
    "Raised when a history download is incomplete or cannot be had; a part is never returned as the whole.": (
        "历史数据下载不完整或无法取得；绝不把一部分当作全部返回。"
    ),
    "Raised when a password or key is missing or cannot be what it should be.": "缺少密码或密钥，或其内容不可能正确。",
}

ENGLISH = Wording(
    head="""\
# Troubleshooting

[中文](troubleshooting_cn.md)

<!-- Made by `python -m vnpy_brokers.pages` from the tables in the source: change those, not this page. -->

Whatever goes wrong is one line: in VN Trader's log, in the terminal, or as a `log` event of `--json`. It says what
happened, to what, and what to do. Errors of Windows, Qt or vn.py's folder are in the [README](../README.md).

## Codes of the OpenAPI Gateway

A line that comes from the broker holds the broker's own words in brackets, and they begin with one of these codes.
Queries and orders are different: what a query may ask again, an order never does by itself. The column *Order or
cancel* says what such an answer means for one.
""",
    columns=("Code", "Meaning", "What the gateway does", "Order or cancel", "What you do", "Error"),
    order_refused="refused",
    order_unknown="outcome unknown",
    after_codes="""\
For an order or cancel, a code from {first} to {last} that is not in the table is a refusal, and so is an answer in
words without a code. Any other code, and an empty answer, leaves the outcome unknown.
""",
    tws_codes="""\
## Codes of TWS and IB Gateway

A line that comes from TWS holds one of these codes and TWS's own words. Most codes about an order are remarks: the
order lives on. The column *Order* says what becomes of an order that the code is about, and has a dash where it is
about something else; a code alone never ends an order that TWS itself calls working.
""",
    tws_columns=("Code", "Meaning", "What the gateway does", "Order", "What you do", "Error"),
    tws_effects={
        OrderEffect.KEEP: "lives on",
        OrderEffect.REJECT: "refused",
        OrderEffect.CANCEL: "cancelled",
        OrderEffect.CANCEL_FAILED: "cancel or change failed",
        OrderEffect.UNSURE: "TWS is asked",
    },
    once_accepted="{}; once accepted: {}",
    after_tws_codes="""\
A code from {first} to {last} that is not in the table is a remark. Any other unknown code ends a request, and leaves an
order as it is: TWS is asked about it.
""",
    unknown_orders="""\
## An order whose outcome is unknown

An order was sent and then there was no answer, the connection was lost, or a code came that leaves the outcome
unknown: the broker may have the order or not. It stays SUBMITTING and is never sent again.

At VBrokers the broker's order list is read twice, not before {settle_after:g} s after the order was sent, and at least
{settle_apart:g} s apart:

- It is in the list: it goes on under its number, with its fills.
- It is in neither reading: it is rejected, with the line that says so. Should it turn up later all the same, it is
  shown as placed elsewhere, with a warning.
- The broker has more identical orders than there are unknown ones: nobody can tell which is which. One line says so,
  they are shown as placed elsewhere, and the broker's app is the place to look.

At IBKR an order carries its id with it (`orderRef`), and TWS's open orders, completed orders and executions of the day
are read after each reconnect. Absence from them settles nothing there, since an order may wait in TWS for a person to
press Transmit: after {held_line:g} s without an answer one line says so, and the order stays SUBMITTING until TWS
names it.

Do not place the order a second time before it is settled. A cancel of it at VBrokers is kept, and sent as soon as the
order's number is known.
""",
    error_tree="""\
## Errors

What the gateways raise inside themselves, for who reads or extends the source (`vnpy_brokerkit/errors.py`). None of
them ever reaches vn.py: each becomes one log line or a refused order.
""",
    translate=gettext.translation("vnpy_brokers", LOCALE_DIR, languages=["en"]).gettext,
    explain=lambda text: text,
)

CHINESE = Wording(
    head="""\
# 故障排除

[English](troubleshooting.md)

<!-- 由 `python -m vnpy_brokers.pages` 根据源代码中的表格生成：请修改源代码，不要修改本页。 -->

出了问题，总有一行文字：在 VN Trader 的日志里、终端里，或者 `--json` 的 `log` 事件里。
它说明发生了什么、涉及什么、该怎么办。与 Windows、Qt 或 vn.py 文件夹有关的问题见 [README](../README_CN.md)。

## OpenAPI Gateway 的错误代码

来自券商的一行，括号里是券商的原话，以下列代码之一开头。查询和委托不同：查询可以再问，委托绝不自动重发。
“委托或撤单”一列说明这样的应答对委托或撤单意味着什么。
""",
    columns=("代码", "含义", "程序的处理", "委托或撤单", "您的处理", "错误类"),
    order_refused="被拒绝",
    order_unknown="结果未知",
    after_codes="""\
对于委托和撤单，表中没有的代码如在 {first} 至 {last} 之间，算作拒绝；没有代码而有文字的应答也算拒绝。
其他代码和空的应答表示结果未知。
""",
    tws_codes="""\
## TWS 和 IB Gateway 的错误代码

来自 TWS 的一行带有下列代码之一和 TWS 的原话。与委托有关的代码大多只是提示，委托继续有效。
“委托”一列说明代码所指的委托会怎样，与委托无关的代码为“–”；只要 TWS 仍显示委托有效，单凭代码绝不会结束它。
""",
    tws_columns=("代码", "含义", "程序的处理", "委托", "您的处理", "错误类"),
    tws_effects={
        OrderEffect.KEEP: "继续有效",
        OrderEffect.REJECT: "被拒绝",
        OrderEffect.CANCEL: "已撤销",
        OrderEffect.CANCEL_FAILED: "撤单或改单未成功",
        OrderEffect.UNSURE: "向 TWS 核对",
    },
    once_accepted="{}；已被接受的委托：{}",
    after_tws_codes="""\
表中没有的代码如在 {first} 至 {last} 之间，只是提示。其他未知代码使请求失败；委托则保持不变，并向 TWS 核对。
""",
    unknown_orders="""\
## 结果未知的委托

委托发出后没有应答、连接中断，或收到结果未知的代码：券商可能收到，也可能没有。委托保持“提交中”，绝不重发。

在 VBrokers，发出 {settle_after:g} 秒之后，程序读两遍券商的委托列表，两遍至少相隔 {settle_apart:g} 秒：

- 列表中有：委托取得委托号，连同成交继续。
- 两遍都没有：委托标为拒单，并有一行说明。如果之后仍然出现，按外部委托显示，并有一行警告。
- 券商处相同的委托多于结果未知的笔数：无法判断哪一笔是哪一笔。有一行说明，它们按外部委托显示，请在券商 App 中核对。

在盈透，委托自带编号（`orderRef`），每次重连后程序读取 TWS 的有效委托、已完成委托和当日成交。
列表中没有并不说明什么，因为委托可能在 TWS 中等待人工点击 Transmit：{held_line:g} 秒没有应答时有一行说明，
委托保持“提交中”，直到 TWS 给出结果。

核实之前请勿重复下单。在 VBrokers 对它的撤单会保留，一旦知道委托号就发出。
""",
    error_tree="""\
## 错误类

程序内部抛出的错误，供阅读或扩展源代码的人参考（`vnpy_brokerkit/errors.py`）。
它们不会传到 vn.py：每一个都变成一行日志或一笔被拒绝的委托。
""",
    translate=lambda text: text,
    explain=lambda text: DOCSTRING2CHINESE[text],
)

PAGES: Mapping[str, Wording] = {"troubleshooting.md": ENGLISH, "troubleshooting_cn.md": CHINESE}


def troubleshooting(wording: Wording) -> str:
    """The whole page."""
    timing = Timing()
    parts = (
        wording.head,
        _table(wording.columns, (_code_row(entry, wording) for entry in CODES)),
        wording.after_codes.format(first=CLEAR_RANGE[0], last=CLEAR_RANGE[-1]),
        wording.tws_codes,
        _table(wording.tws_columns, (_tws_row(entries, wording) for entries in tws_groups())),
        wording.after_tws_codes.format(first=NOTICES[0], last=NOTICES[-1]),
        wording.unknown_orders.format(
            settle_after=timing.settle_after, settle_apart=timing.settle_apart, held_line=timing.held_line
        ),
        wording.error_tree,
        _tree(wording),
    )
    return "\n".join(parts)


def tws_groups() -> list[Sequence[TwsCode]]:
    """TWS's codes in the table's order; neighbours that differ in their number alone are together in one row."""
    return [list(entries) for _words, entries in groupby(TWS_CODES, key=lambda entry: replace(entry, code=0))]


def error_tree() -> Iterator[tuple[int, type[BrokerError]]]:
    """The errors of the kit with their depth, each parent before its children."""
    waiting: list[tuple[int, type[BrokerError]]] = [(0, BrokerError)]
    while waiting:
        depth, kind = waiting.pop()
        yield depth, kind
        children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
        waiting += [(depth + 1, child) for child in reversed(children)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _code_row(entry: BrokerCode, wording: Wording) -> Sequence[str]:
    return (
        entry.code,
        wording.translate(entry.meaning),
        wording.translate(entry.gateway_does),
        wording.order_unknown if entry.ambiguous else wording.order_refused,
        wording.translate(entry.user_does),
        f"`{entry.kind.__name__}`",
    )


def _tws_row(entries: Sequence[TwsCode], wording: Wording) -> Sequence[str]:
    first = entries[0]
    return (
        ", ".join(str(entry.code) for entry in entries),
        wording.translate(first.meaning),
        wording.translate(first.gateway_does),
        _fate(first, wording),
        wording.translate(first.user_does),
        f"`{first.kind.__name__}`",
    )


def _fate(entry: TwsCode, wording: Wording) -> str:
    if entry.action in NOT_OF_ORDERS:
        return "–"
    new, accepted = (wording.tws_effects[order_effect(entry.code, acknowledged=known)] for known in (False, True))
    return new if new == accepted else wording.once_accepted.format(new, accepted)


def _tree(wording: Wording) -> str:
    return "".join(f"{'  ' * depth}- `{kind.__name__}`: {_explained(kind, wording)}\n" for depth, kind in error_tree())


def _explained(kind: type[BrokerError], wording: Wording) -> str:
    docstring = re.sub(r"\s+", " ", inspect.getdoc(kind) or "")
    return wording.explain(docstring).replace("``", "`")


def main() -> None:
    """Write the pages."""
    for name, wording in PAGES.items():
        (DOCS / name).write_text(troubleshooting(wording), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
