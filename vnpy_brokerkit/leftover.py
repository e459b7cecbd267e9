"""The orders that go on working without us, named where a person sees it after the window has gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from vnpy.trader.logger import logger
from vnpy.trader.object import OrderData

from .i18n import _
from .tracker import exact, plain_text


def tell_leftover(gateway_name: str, orders: Iterable[OrderData]) -> None:
    """Write a line for each of these orders to standard error and to vn.py's file."""
    for order in orders:
        line = _("{}：退出后委托仍在券商处有效或状态未知：{} {} {} {}@{}，已成交{}").format(
            gateway_name,
            order.orderid,
            order.vt_symbol,
            order.direction.value if order.direction else "",
            *(plain_text(exact(number)) for number in (order.volume, order.price, order.traded)),
        )
        sys.stderr.write(line + "\n")
        logger.bind(gateway_name=gateway_name).warning(line)
