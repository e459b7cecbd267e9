"""What a reconciliation found: collected while it runs, told as one report when it ends (design, section 4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from .clock import Clock
from .i18n import N_, _
from .tracker import TrackedOrder

KEPT = 100
"""How many reports are kept: those that found something."""
SHOWN = 5
"""How many orders one line names."""


class Occasion(Enum):
    """Why the engine was compared with the broker."""

    CONNECT = N_("连接")
    RECONNECT = N_("恢复连接")
    TIMER = N_("定时")
    DEMAND = N_("人工")


class Kind(Enum):
    """What can be found."""

    ADOPTED = N_("接管")
    """At the broker, and not known here: placed elsewhere, or by an earlier process without a journal."""
    SETTLED = N_("核实")
    """Its outcome was unknown, and is known now."""
    MISSING = N_("缺失")
    """The broker acknowledged it, and no list has it: it stays as it was."""
    FILLED = N_("补成交")
    """It was filled while nobody listened."""
    UNTOLD = N_("成交不明")
    """The broker says that more was filled than it has fills for: nobody knows at which price."""
    UNKNOWN = N_("未知")
    """Its outcome is still not known."""


@dataclass(frozen=True)
class Finding:
    """One order that a reconciliation has something to say about."""

    kind: Kind
    orderid: str
    vt_symbol: str
    text: str = ""


@dataclass(frozen=True)
class Report:
    """The end of one reconciliation. ``complete`` is False where a list could not be read to its end."""

    gateway_name: str
    occasion: Occasion
    began: datetime
    ended: datetime
    complete: bool
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> list[Finding]:
        """Return what was found of one kind."""
        return [finding for finding in self.findings if finding.kind is kind]

    @property
    def news(self) -> bool:
        """Whether anything was found that was not known before: an outcome that stays unknown is none."""
        return any(finding.kind not in (Kind.UNKNOWN, Kind.MISSING, Kind.UNTOLD) for finding in self.findings)

    def line(self) -> str:
        """Return the report as one line for the log."""
        parts = []
        for kind in Kind:
            found = self.of(kind)
            if found:
                names = _("、").join(finding.orderid for finding in found[:SHOWN])
                more = _("等") if len(found) > SHOWN else ""
                parts.append(_("{}{}笔（{}{}）").format(_(kind.value), len(found), names, more))
        what = _("，").join(parts) or _("引擎与券商一致")
        return _("对账（{}）{}：{}").format(_(self.occasion.value), "" if self.complete else _("未完成"), what)


class Findings:
    """Collects what is found; :meth:`report` closes the round. For the loop thread."""

    def __init__(self, gateway_name: str, clock: Clock) -> None:
        self._gateway_name = gateway_name
        self._clock = clock
        self._found: dict[tuple[Kind, str], Finding] = {}
        self._began = clock.now()
        self.last: Report | None = None
        """The last report, whatever it says."""
        self.reports: deque[Report] = deque(maxlen=KEPT)
        """Those that found something or that somebody asked for, oldest first."""

    def add(self, kind: Kind, order: TrackedOrder, text: str = "") -> None:
        """Note an order; the same again changes nothing."""
        self._found[kind, order.orderid] = Finding(kind, order.orderid, order.vt_symbol, text)

    def begin(self) -> None:
        """A round begins now; what was noted since the last one belongs to it."""
        self._began = self._clock.now()

    def report(self, occasion: Occasion, unknown: Iterable[TrackedOrder], *, complete: bool) -> Report:
        """Close the round."""
        for order in unknown:
            self.add(Kind.UNKNOWN, order)
        found, self._found = tuple(self._found.values()), {}
        report = Report(self._gateway_name, occasion, self._began, self._clock.now(), complete, found)
        if report.news or occasion is not Occasion.TIMER:
            self.reports.append(report)
        self.last = report
        return report
