"""The model broker's orders and fills, and the rows that tell of them (reference "vbrokers-openapi", section 7.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

HONG_KONG = ZoneInfo("Asia/Hong_Kong")
ZONES = {"P": ZoneInfo("America/New_York"), "K": HONG_KONG}
ENDED = frozenset("5689")


@dataclass
class Deal:
    """One fill of an order."""

    number: int
    volume: Decimal
    price: Decimal
    total: Decimal
    time: datetime


@dataclass
class Row:
    """One order at the broker. ``local`` is the id of who placed it here, "" for the phone's."""

    id: str
    market: str
    code: str
    side: str
    type: str
    price: Decimal
    volume: Decimal
    placed: datetime
    seen_at: float
    local: str = ""
    late_s: float = 0.0
    """How long after its sending it arrived."""
    status: str = "2"
    remark: str = ""
    deals: list[Deal] = field(default_factory=list)

    @property
    def traded(self) -> Decimal:
        return self.deals[-1].total if self.deals else Decimal(0)

    @property
    def active(self) -> bool:
        return self.status not in ENDED


def order_row(row: Row, zone: ZoneInfo) -> dict[str, str]:
    placed = row.placed.astimezone(zone)
    return {
        "entrustId": row.id,
        "status": row.status,
        "entrustAmount": str(row.volume),
        "stockCode": row.code,
        "exchangeType": row.market,
        "entrustBs": row.side,
        "entrustTypeNum": row.type,
        "entrustPrice": str(row.price),
        "businessAmount": str(row.traded),
        "date": f"{placed:%Y-%m-%d}",
        "entrustTime": f"{placed:%H:%M:%S}",
        "remark": row.remark,
        "queryParamStr": row.id,
    }


def deal_row(deal: Deal, row: Row, zone: ZoneInfo) -> dict[str, str]:
    at = deal.time.astimezone(zone)
    return {
        "entrustId": row.id,
        "businessPrice": str(deal.price),
        "businessAmount": str(deal.volume),
        "stockCode": row.code,
        "exchangeType": row.market,
        "entrustBs": row.side,
        "date": f"{at:%Y-%m-%d}",
        "businessTime": f"{at:%H:%M:%S}",
        "queryParamStr": str(deal.number),
    }
