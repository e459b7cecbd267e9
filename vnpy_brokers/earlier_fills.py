"""Fills of earlier processes as a gateway's journal holds them, by strategy, for :mod:`vnpy_brokers.adopt`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vnpy.trader.database import DB_TZ
from vnpy.trader.object import TradeData
from vnpy_ctastrategy.base import APP_NAME

from vnpy_brokerkit.journal import Journal
from vnpy_brokerkit.journal_rows import EarlierFill

from .strategy_books import CountedFill


@dataclass
class OpenJournal:
    """A gateway's journal, and by strategy what it held when it was opened and nobody has looked at yet."""

    journal: Journal
    waiting: dict[str, list[EarlierFill]]

    @classmethod
    def of(cls, journal: Journal, names: Iterable[str]) -> OpenJournal:
        """Sort a journal's fills by these strategies."""
        waiting: dict[str, list[EarlierFill]] = {name: [] for name in list(names)}
        for fill in journal.earlier:
            name = named(fill.reference)
            if name in waiting:
                waiting[name].append(fill)
        return cls(journal, waiting)


def named(reference: str) -> str:
    """Return the name of the CTA strategy that a reference names; ``""`` where it is another's."""
    app, _underscore, name = reference.partition("_")
    return name if app == APP_NAME else ""


def counted(gateway_name: str, fill: EarlierFill) -> CountedFill:
    return CountedFill(f"{gateway_name}.{fill.orderid}", fill.tradeid, fill.volume, fill.time)


def trade_of(gateway_name: str, fill: EarlierFill) -> TradeData:
    return TradeData(
        gateway_name=gateway_name,
        symbol=fill.symbol,
        exchange=fill.exchange,
        orderid=fill.orderid,
        tradeid=fill.tradeid,
        direction=fill.direction,
        offset=fill.offset,
        price=float(fill.price),
        volume=float(fill.volume),
        datetime=fill.time.astimezone(DB_TZ),
    )
