"""What the terminal shows, as rows of text taken from vn.py's order management."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vnpy.trader.engine import MainEngine
from vnpy.trader.object import OrderData, TickData
from vnpy.trader.utility import get_digits

from vnpy_brokerkit.i18n import _

LAST_ORDERS = 8
LAST_TRADES = 5


@dataclass(frozen=True)
class Row:
    """One line of a sheet: `key` names the object that it tells about, whatever it says at the moment."""

    key: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """A titled table. `rows` reads it from the engine and may be called from any thread."""

    title: str
    columns: tuple[str, ...]
    rows: Callable[[MainEngine], Sequence[Row]]


def quantity(value: float) -> str:
    """A number of shares: whole ones without decimals, fractions as they are."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,}"


def money(value: float) -> str:
    """An amount, to the cent."""
    return f"{value:,.2f}"


def _price(engine: MainEngine, vt_symbol: str, value: float) -> str:
    contract = engine.get_contract(vt_symbol)
    digits = get_digits(contract.pricetick) if contract else 2
    return f"{value:,.{digits}f}" if value else "-"


def _change(tick: TickData) -> str:
    if not (tick.pre_close and tick.last_price):
        return "-"
    return f"{tick.last_price / tick.pre_close - 1:+.2%}"


def _quotes(engine: MainEngine) -> list[Row]:
    rows = []
    for tick in sorted(engine.get_all_ticks(), key=lambda tick: tick.vt_symbol):
        cells = (
            tick.vt_symbol,
            tick.name,
            _price(engine, tick.vt_symbol, tick.last_price),
            _change(tick),
            _price(engine, tick.vt_symbol, tick.bid_price_1),
            quantity(tick.bid_volume_1),
            _price(engine, tick.vt_symbol, tick.ask_price_1),
            quantity(tick.ask_volume_1),
            quantity(tick.volume),
            f"{tick.datetime:%H:%M:%S}",
        )
        rows.append(Row(tick.vt_symbol, cells))
    return rows


def _order_cells(engine: MainEngine, order: OrderData) -> tuple[str, ...]:
    return (
        order.vt_orderid,
        order.vt_symbol,
        order.direction.value if order.direction else "",
        _price(engine, order.vt_symbol, order.price),
        quantity(order.volume),
        quantity(order.traded),
        order.status.value,
    )


def _orders(engine: MainEngine) -> list[Row]:
    return [Row(order.vt_orderid, _order_cells(engine, order)) for order in engine.get_all_orders()[-LAST_ORDERS:]]


def _trades(engine: MainEngine) -> list[Row]:
    rows = []
    for trade in engine.get_all_trades()[-LAST_TRADES:]:
        direction = trade.direction.value if trade.direction else ""
        price = _price(engine, trade.vt_symbol, trade.price)
        cells = (trade.vt_tradeid, trade.vt_symbol, direction, price, quantity(trade.volume))
        rows.append(Row(trade.vt_tradeid, cells))
    return rows


def _positions(engine: MainEngine) -> list[Row]:
    rows = []
    for position in engine.get_all_positions():
        cells = (
            position.gateway_name,
            position.vt_symbol,
            quantity(position.volume),
            f"{position.price:,.4f}",
            money(position.pnl),
        )
        rows.append(Row(position.vt_positionid, cells))
    return rows


def _accounts(engine: MainEngine) -> list[Row]:
    rows = []
    for account in engine.get_all_accounts():
        amounts = (money(account.balance), money(account.frozen), money(account.available))
        rows.append(Row(account.vt_accountid, (account.vt_accountid, *amounts)))
    return rows


SHEETS: Sequence[Sheet] = (
    Sheet(
        _("行情"),
        (
            *(_("代码"), _("名称"), _("最新"), _("涨跌")),
            *(_("买价"), _("买量"), _("卖价"), _("卖量"), _("成交量"), _("时间")),
        ),
        _quotes,
    ),
    Sheet(_("委托"), (_("委托号"), _("代码"), _("方向"), _("价格"), _("数量"), _("已成交"), _("状态")), _orders),
    Sheet(_("成交"), (_("成交号"), _("代码"), _("方向"), _("价格"), _("数量")), _trades),
    Sheet(_("持仓"), (_("接口"), _("代码"), _("数量"), _("成本"), _("盈亏")), _positions),
    Sheet(_("资金"), (_("账户"), _("净资产"), _("冻结"), _("可用")), _accounts),
)
