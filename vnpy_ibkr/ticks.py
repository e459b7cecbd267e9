"""A board as vn.py's tick: plain numbers, zero for what is not known."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from vnpy.trader.object import TickData

from vnpy_brokerkit.price_grid import align
from vnpy_brokerkit.trading_hours import Segment

from .board import DEPTH, Board


def make_tick(
    board: Board, gateway_name: str, at: datetime, arrived: datetime, now: Segment, reach: Decimal
) -> TickData:
    """The tick of a board with a price; ``at`` and ``arrived`` in the zone that the engine uses.

    ``reach`` is the distance of synthetic limits from the last price, as a part of it.
    """
    instrument = board.instrument
    price = board.price()
    tick = TickData(
        gateway_name=gateway_name,
        symbol=instrument.symbol,
        exchange=instrument.exchange,
        datetime=at,
        name=instrument.name,
        volume=float(board.volume),
        turnover=float(board.turnover),
        open_interest=float(board.open_interest),
        last_price=float(price),
        last_volume=float(board.last_volume),
        open_price=float(board.open),
        high_price=float(board.high),
        low_price=float(board.low),
        pre_close=float(board.prev_close),
        localtime=arrived,
    )
    extra: dict[str, Any] = {"segment": now.value, "delayed": board.delayed}
    bids, asks = board.bids, board.asks
    for side, levels in (("bid", bids), ("ask", asks)):
        for number, level in enumerate(levels, 1):
            setattr(tick, f"{side}_price_{number}", float(level.price))
            setattr(tick, f"{side}_volume_{number}", float(level.volume))
    if min(len(bids), len(asks)) < DEPTH:
        # vn.py prices a local stop by limit_up/limit_down, or by level five: without either it would send 0.
        above, below = price + abs(price) * reach, price - abs(price) * reach
        # Either may lie in another band of the venue's price steps than the last price.
        tick.limit_up = float(align(above, instrument.tick_at(above), up=False))
        tick.limit_down = float(align(below, instrument.tick_at(below), up=True))
        extra["synthetic_limit"] = True
    if board.halted:
        extra["halted"] = True
    tick.extra = extra
    return tick
