"""The broker queue of a Hong Kong stock: who stands at each level (vbrokers-openapi 6.6, 13.4).

The queue is made from the standing book: as many brokers at a level as orders, up to four, the same ones for the same
level.
"""

from __future__ import annotations

from brokersim.hstong.frames import BID, orders_at
from brokersim.hstong.params import Security
from brokersim.model import Quote
from vnpy_vbrokers.wire.proto import push_pb2 as pb

BROKERS: tuple[tuple[str, str], ...] = (
    ("0001", "模拟经纪甲"),
    ("0002", "模拟经纪乙"),
    ("0003", "模拟经纪丙"),
    ("0004", "模拟经纪丁"),
    ("0005", "模拟经纪戊"),
    ("0006", "模拟经纪己"),
    ("0007", "模拟经纪庚"),
)
PER_LEVEL = 4


def queue(quote: Quote, side: int) -> list[tuple[int, str, str]]:
    """(level, broker's code, name) of one side, best level first."""
    levels = quote.bids if side == BID else quote.asks
    rows = []
    for number, level in enumerate(levels, 1):
        start = int(level.price * 1000) + side
        for place in range(min(PER_LEVEL, orders_at(level))):
            code, name = BROKERS[(start + place) % len(BROKERS)]
            rows.append((number, code, name))
    return rows


def queue_rows(quote: Quote, side: int) -> list[dict[str, object]]:
    """One side as the pull answers it."""
    return [{"level": level, "item": code, "type": side, "name": name} for level, code, name in queue(quote, side)]


def queue_notify(security: Security, side: int, quote: Quote) -> pb.BrokerNotify:
    """One side as it is pushed."""
    return pb.BrokerNotify(
        security=pb.Security(dataType=security.data_type, code=security.code),
        side=side,
        brokerList=[
            pb.Broker(level=level, item=code, type=side, name=name) for level, code, name in queue(quote, side)
        ],
    )
