"""A gateway without a broker, for the tests of the door: it quotes and fills on vn.py's timer, and is noisy."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Product, Status
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.object import (
    AccountData,
    CancelRequest,
    ContractData,
    OrderData,
    OrderRequest,
    PositionData,
    SubscribeRequest,
    TickData,
    TradeData,
)

SYMBOLS: Mapping[str, tuple[Exchange, float, float]] = {
    "IBM": (Exchange.SMART, 0.01, 1),
    "AAPL": (Exchange.SMART, 0.01, 1),
    "00700": (Exchange.SEHK, 0.2, 100),
    "09988": (Exchange.SEHK, 0.1, 100),
}
BID, ASK = 100.0, 100.2


class FakeGateway(BaseGateway):
    """Fills every marketable limit order at the second timer event after it was sent."""

    default_name = "VBROKERS"
    # vn.py's own class attributes: a ClassVar cannot override them, and a list among the settings is its drop-down.
    default_setting = {  # noqa: RUF012  vn.py reads it from the class
        "环境": ["内置模拟", "测试环境", "实盘"],  # type: ignore[dict-item]  # a list is a drop-down, whatever vn.py's annotation says
        "端口": 11111,
        "交易密码": "",
    }
    exchanges = [Exchange.SEHK, Exchange.SMART]  # noqa: RUF012  vn.py reads it from the class

    def __init__(self, event_engine: EventEngine, gateway_name: str) -> None:
        super().__init__(event_engine, gateway_name)
        self.embedded = False
        self.setting: dict[str, Any] = {}
        self.subscribed: list[str] = []
        self.orders: dict[str, OrderData] = {}
        self.held: dict[str, float] = {}
        self.closed = 0

    def connect(self, setting: dict[str, Any]) -> None:
        self.setting = setting
        self.embedded = setting["环境"] == "内置模拟"
        if setting.get("交易密码") == "raise":
            raise RuntimeError(str(setting))
        print("noise on stdout")
        os.write(1, b"noise on descriptor 1\n")
        sys.stdout.write("more noise\n")
        for symbol, (exchange, pricetick, lot) in SYMBOLS.items():
            contract = ContractData(self.gateway_name, symbol, exchange, f"名称{symbol}", Product.EQUITY, 1, pricetick)
            contract.min_volume = lot
            contract.history_data = True
            self.on_contract(contract)
        account = AccountData(self.gateway_name, "SIM-VBROKERS-USD", balance=1_000_000, frozen=0)
        account.extra = {"nan": math.nan, "direction": Direction.LONG}
        self.on_account(account)
        self.on_position(PositionData(self.gateway_name, "IBM", Exchange.SMART, Direction.NET))
        self.event_engine.register(EVENT_TIMER, self.on_timer)
        self.write_log("已连接")

    def close(self) -> None:
        self.closed += 1

    def subscribe(self, req: SubscribeRequest) -> None:
        self.subscribed.append(req.vt_symbol)
        self.push_tick(req.symbol)

    def push_tick(self, symbol: str) -> None:
        exchange = SYMBOLS[symbol][0]
        tick = TickData(self.gateway_name, symbol, exchange, datetime.now(timezone.utc), name=f"名称{symbol}")
        tick.last_price, tick.pre_close, tick.volume = 100.1, 99.0, 12_300
        tick.bid_price_1, tick.bid_volume_1, tick.ask_price_1, tick.ask_volume_1 = BID, 300, ASK, 400
        self.on_tick(tick)

    def send_order(self, req: OrderRequest) -> str:
        order = req.create_order_data(f"o{len(self.orders) + 1}", self.gateway_name)
        self.orders[order.orderid] = order
        self.push_order(order, Status.SUBMITTING)
        return order.vt_orderid

    def push_order(self, order: OrderData, status: Status, traded: float = 0) -> None:
        """Push a copy in a new state, and the position that it makes."""
        bought = traded - order.traded
        order.status, order.traded = status, traded
        copy = OrderData(
            self.gateway_name, order.symbol, order.exchange, order.orderid, order.type, order.direction, order.offset,
            order.price, order.volume, traded, status, datetime.now(timezone.utc), order.reference,
        )  # fmt: skip
        self.on_order(copy)
        if bought:
            held = self.held.get(order.symbol, 0) + (bought if order.direction is Direction.LONG else -bought)
            self.held[order.symbol] = held
            self.on_position(PositionData(self.gateway_name, order.symbol, order.exchange, Direction.NET, held))

    def fill(self, order: OrderData) -> None:
        trade = TradeData(self.gateway_name, order.symbol, order.exchange, order.orderid, f"{order.orderid}-1")
        trade.direction, trade.price, trade.volume = order.direction, order.price, order.volume
        trade.datetime = datetime.now(timezone.utc)
        self.push_order(order, Status.ALLTRADED, order.volume)
        self.on_trade(trade)

    def cancel_order(self, req: CancelRequest) -> None:
        order = self.orders[req.orderid]
        if order.is_active():
            self.push_order(order, Status.CANCELLED, order.traded)

    def on_timer(self, event: Event) -> None:
        for symbol in {name.split(".")[0] for name in self.subscribed}:
            self.push_tick(symbol)
        for order in [order for order in self.orders.values() if order.is_active()]:
            if order.price >= ASK if order.direction is Direction.LONG else order.price <= BID:
                self.fill(order)

    def query_account(self) -> None:
        """Accounts are pushed."""

    def query_position(self) -> None:
        """Positions are pushed."""


def main() -> int:
    """``run.py`` with this gateway in the place of the real one."""
    from vnpy_brokers import door, settings

    settings.GATEWAYS = {"VBROKERS": "tests.door_fake:FakeGateway"}
    return door.main()


if __name__ == "__main__":
    raise SystemExit(main())
