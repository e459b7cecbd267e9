"""Is an order well formed: whole lots and the tick grid (vbrokers-openapi 16.3, 16.4, 17)."""

from __future__ import annotations

from decimal import Decimal

from brokersim.model import Instrument, Order

WHOLE_LOT_EXCHANGES = frozenset({"SEHK"})
"""A buy and a sale must be whole lots, unless the order is an odd-lot order (``tag["odd_lot"] == "1"``)."""
WHOLE_LOT_BUY_EXCHANGES = frozenset({"SSE", "SZSE"})
"""Only buys must be whole lots: an odd rest may be sold."""


def wrong_form(order: Order, instrument: Instrument, price: Decimal, volume: int, tick: Decimal) -> str:
    """Why ``price`` and ``volume`` can not be this order's, in the broker's words; empty if they can."""
    odd = order.tag.get("odd_lot") == "1"
    if odd and (order.direction != "SHORT" or volume >= instrument.lot):
        return f"碎股单只能卖出少于一手（{instrument.lot}股）的数量"
    whole = instrument.exchange in WHOLE_LOT_EXCHANGES or (
        instrument.exchange in WHOLE_LOT_BUY_EXCHANGES and order.direction == "LONG"
    )
    if whole and not odd and volume % instrument.lot:
        return f"委托数量{volume}不是每手{instrument.lot}股的整数倍"
    if order.type != "MARKET" and price % tick:
        return f"委托价格{price}不符合最小价差{tick}"
    return ""
