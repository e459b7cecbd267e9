"""The trading panel: every spelling of a symbol, five honest levels of depth, and rows that fill the form.

vn.py's panel compares ticks with the text that was typed, keeps levels of depth that are gone, sends what was clicked
in a row to the symbol's first gateway, and cancels whatever it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from PySide6 import QtCore, QtWidgets
from vnpy.event import Event, EventEngine
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK
from vnpy.trader.object import ContractData, OrderData, PositionData, SubscribeRequest, TickData
from vnpy.trader.ui.widget import BaseCell, TradingWidget
from vnpy.trader.utility import get_digits

from vnpy_brokerkit import trading_hours
from vnpy_brokerkit.i18n import N_, _
from vnpy_brokerkit.routes import registry_for
from vnpy_brokerkit.symbols import SymbolError, canonical

from .prices import digits_of, price_text, quantity_text, snapped

LEVELS = range(1, 6)


class State(NamedTuple):
    """What stands beside the price."""

    text: str


SEGMENT2STATE: Mapping[str, State] = {
    "pre": State(N_("盘前")),
    "post": State(N_("盘后")),
    "night": State(N_("夜盘")),
    "auction": State(N_("集合竞价")),
    "break": State(N_("午间休市")),
    "closed": State(N_("休市")),
}
"""Regular trading needs no word."""

Resolve = Callable[[str, Exchange, Callable[[str], None]], None]


@dataclass(frozen=True)
class _Pricing:
    """A price that is wanted: the other side's best for ``closing``, else the last one."""

    closing: Direction | None


class TypingPanel(TradingWidget):
    """vn.py's order form and depth for what a person types or double-clicks."""

    _contract_came = QtCore.Signal(Event)
    _resolved = QtCore.Signal(str, str)

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        self._pricing: _Pricing | None = None
        """What waits for the first quote of the symbol."""
        self.takes_first = False
        """Show the first symbol that has a quote, until somebody chooses one: the demo's first screen is not empty."""
        super().__init__(main_engine, event_engine)

    def init_ui(self) -> None:
        """Add the line that tells the market's state."""
        super().init_ui()
        self.state_label = self.create_label()
        layout = self.layout()
        assert isinstance(layout, QtWidgets.QVBoxLayout)  # vn.py's own
        layout.insertWidget(1, self.state_label)

    def register_event(self) -> None:
        """Hear of ticks, and of contracts that come after their symbol was typed."""
        self.signal_tick.connect(self.process_tick_event)
        self.event_engine.register(EVENT_TICK, self._pick_tick)
        self._contract_came.connect(self._on_contract)
        self._resolved.connect(self._on_resolved)
        self.event_engine.register(EVENT_CONTRACT, self._pick_contract)

    # ------------------------------------------------------------------ typing

    def set_vt_symbol(self) -> None:
        """Show what stands in the form: its canonical spelling, its name, the last known quote, then each new one."""
        typed = self.symbol_line.text()
        if not typed.strip():
            return
        symbol, exchange, gateway_name = self._spell(typed, Exchange(self.exchange_combo.currentText()))
        self._show(symbol, exchange, gateway_name)
        resolve: Resolve | None = getattr(self.main_engine.gateways.get(gateway_name), "resolve", None)
        if resolve and self.main_engine.get_contract(self.vt_symbol) is None:
            asked = self.vt_symbol
            resolve(symbol, exchange, lambda found: self._resolved.emit(asked, found))

    def _spell(self, typed: str, exchange: Exchange) -> tuple[str, Exchange, str]:
        """The canonical symbol and exchange, and the gateway that gives its quotes.

        A gateway that writes instruments of its own (IBKR) is asked only for what it owns.
        """
        chosen = self.gateway_combo.currentText()
        try:
            key = canonical(typed, exchange)
        except SymbolError:
            return typed, exchange, chosen  # the gateway says so too, in its log
        routes = registry_for(self.event_engine)
        owner = routes.owner(f"{key[0]}.{key[1].value}")
        own_spelling = getattr(self.main_engine.gateways.get(owner), "canonical", None)
        if own_spelling:
            key = own_spelling(*key)
            owner = routes.owner(f"{key[0]}.{key[1].value}")
        return *key, owner or chosen

    def _show(self, symbol: str, exchange: Exchange, gateway_name: str) -> None:
        index = self.exchange_combo.findText(exchange.value)
        if index >= 0:
            self.symbol_line.setText(symbol)
            self.exchange_combo.setCurrentIndex(index)
        vt_symbol = f"{symbol}.{exchange.value}"
        contract = self.main_engine.get_contract(vt_symbol)
        if vt_symbol != self.vt_symbol:
            self.vt_symbol = vt_symbol
            self.clear_label_text()
            self.volume_line.setText("")
            self.price_line.setText("")
            self._pricing = None
            self.gateway_combo.setCurrentText(contract.gateway_name if contract else gateway_name)
        self._name(contract)
        tick = self.main_engine.get_tick(vt_symbol)
        if tick:
            self._draw(tick)  # of a market that is closed nothing new may come
        # Enter on the same symbol asks again: the gateway may have found nothing, or was not connected.
        self.main_engine.subscribe(SubscribeRequest(symbol, exchange), gateway_name)

    def _name(self, contract: ContractData | None) -> None:
        self.name_line.setText(contract.name if contract else "")
        self.name_line.setCursorPosition(0)  # a long name shows its beginning
        self.price_digits = get_digits(contract.pricetick) if contract else 0

    def _pick_tick(self, event: Event) -> None:
        """In the event thread: ticks of other symbols would only wake the window."""
        if event.data.vt_symbol == self.vt_symbol or (self.takes_first and not self.vt_symbol):
            self.signal_tick.emit(event)

    def _pick_contract(self, event: Event) -> None:
        """In the event thread: a gateway's thousands of contracts are not the window's business."""
        contract: ContractData = event.data
        if contract.vt_symbol == self.vt_symbol:
            self._contract_came.emit(event)

    def _on_contract(self, event: Event) -> None:
        contract: ContractData = event.data
        if contract.vt_symbol != self.vt_symbol:
            return
        self._name(contract)
        tick = self.main_engine.get_tick(self.vt_symbol)
        if tick:
            self._draw(tick)

    def _on_resolved(self, asked: str, found: str) -> None:
        """A gateway tells what a conId or another written form stands for, if it is still what is shown."""
        symbol, _dot, exchange = found.rpartition(".")
        if asked == self.vt_symbol != found:
            owner = registry_for(self.event_engine).owner(found)
            self._show(symbol, Exchange(exchange), owner or self.gateway_combo.currentText())

    # ------------------------------------------------------------------ quotes

    def process_tick_event(self, event: Event) -> None:
        """Draw a tick of the symbol that is shown."""
        tick: TickData = event.data
        if self.takes_first and not self.vt_symbol and not self.symbol_line.text():
            self._show(tick.symbol, tick.exchange, tick.gateway_name)
        elif tick.vt_symbol == self.vt_symbol:
            self._draw(tick)

    def _draw(self, tick: TickData) -> None:
        """Draw all of a tick: what it does not have is blank, whatever stood there."""
        contract = self.main_engine.get_contract(tick.vt_symbol)
        self.price_digits = digits = digits_of(contract, tick.last_price)
        self.lp_label.setText(price_text(tick.last_price, digits))
        change = (tick.last_price / tick.pre_close - 1) * 100 if tick.pre_close else None
        self.return_label.setText("" if change is None else f"{change:.2f}%")
        for level in LEVELS:
            for side, letter in (("bid", "b"), ("ask", "a")):
                price, volume = getattr(tick, f"{side}_price_{level}"), getattr(tick, f"{side}_volume_{level}")
                there = bool(price or volume)
                getattr(self, f"{letter}p{level}_label").setText(price_text(price, digits) if there else "")
                getattr(self, f"{letter}v{level}_label").setText(quantity_text(volume) if there else "")
        self.state_label.setText(_state(tick))
        if not self.name_line.text():
            self.name_line.setText(tick.name)
        if self.price_check.isChecked():
            self.price_line.setText(price_text(tick.last_price, digits))
        elif self._pricing and not self.price_line.text():
            self._fill_price(self._pricing.closing)

    def clear_label_text(self) -> None:
        """Leave nothing of another symbol."""
        super().clear_label_text()
        self.state_label.setText("")

    # ------------------------------------------------------------------ rows

    def update_with_cell(self, cell: BaseCell) -> None:
        """Fill the form from a row of quotes, positions or orders that was double-clicked.

        The gateway becomes the row's own: a position is closed where it is held, whoever gives the quotes.
        """
        data = self._latest(cell.get_data())
        index = self.exchange_combo.findText(data.exchange.value)
        if index < 0:
            return
        self.symbol_line.setText(data.symbol)
        self.exchange_combo.setCurrentIndex(index)
        self.set_vt_symbol()
        self.gateway_combo.setCurrentText(data.gateway_name)
        if isinstance(data, PositionData):
            long = data.direction is Direction.LONG or (data.direction is Direction.NET and data.volume > 0)
            closing = Direction.SHORT if long else Direction.LONG
            self.direction_combo.setCurrentText(closing.value)
            self.offset_combo.setCurrentText(Offset.CLOSE.value)
            self.order_type_combo.setCurrentText(OrderType.LIMIT.value)
            self.volume_line.setText(quantity_text(abs(data.volume)) if data.volume else "")
            self._fill_price(closing)
        elif isinstance(data, OrderData):
            self.direction_combo.setCurrentText(data.direction.value if data.direction else Direction.LONG.value)
            self.offset_combo.setCurrentText(data.offset.value)
            self.order_type_combo.setCurrentText(data.type.value)
            self.volume_line.setText(quantity_text(data.volume - data.traded or data.volume))
            self._fill_price(None, data.price)
        else:
            self._fill_price(None)

    def _latest(self, data: Any) -> Any:
        """The row as it is now: vn.py's cells that never change keep the object of the row's first day."""
        engine = self.main_engine
        if isinstance(data, PositionData):
            return engine.get_position(data.vt_positionid) or data
        if isinstance(data, OrderData):
            return engine.get_order(data.vt_orderid) or data
        return data

    def _fill_price(self, closing: Direction | None, known: float = 0) -> None:
        """Fill in a price that can be sent: on the tick grid.

        ``closing`` takes the other side's best; else it is the row's own price, ``known``, or the last one. What has no
        quote yet is priced when the first one comes: a position's average cost would be no price to trade at.
        """
        contract, tick = self.main_engine.get_contract(self.vt_symbol), self.main_engine.get_tick(self.vt_symbol)
        price = known
        if tick and not price:
            best = {Direction.LONG: tick.ask_price_1, Direction.SHORT: tick.bid_price_1}
            price = (best[closing] if closing else 0) or tick.last_price
        self._pricing = _Pricing(closing) if not price else None
        exact = snapped(price, contract, up=closing is Direction.LONG)
        self.price_line.setText(price_text(exact, digits_of(contract, exact)) if price else "")

    # ------------------------------------------------------------------ orders

    def cancel_all(self) -> None:
        """Cancel our own active orders; those placed elsewhere only where 外部委托 says so (design, section 4)."""
        spared = 0
        for order in self.main_engine.get_all_active_orders():
            gateway = self.main_engine.gateways.get(order.gateway_name)
            if (order.extra or {}).get("external") and not getattr(gateway, "cancels_external", False):
                spared += 1
                continue
            self.main_engine.cancel_order(order.create_cancel_request(), order.gateway_name)
        if spared:
            text = _("全撤不含{}笔在别处下的委托；需要时请双击该委托单独撤销，或在连接设置中修改“外部委托”")
            self.main_engine.write_log(text.format(spared))


def _state(tick: TickData) -> str:
    """Words for the market's state: its segment, a halt, delayed data."""
    extra = tick.extra or {}
    segment = extra.get("segment", "")
    if not (tick.bid_price_1 or tick.ask_price_1) and tick.localtime is not None:
        # VBrokers has no word for a closed market: its last quote goes on saying "regular", without a book.
        region = trading_hours.region_of(tick.exchange)
        calendar = trading_hours.segment(region, tick.localtime).value if region else segment
        segment = calendar if calendar in ("closed", "break") else segment
    state = SEGMENT2STATE.get(segment)
    words = [_(state.text)] if state else []
    if extra.get("halted"):
        words.append(_("停牌"))
    if extra.get("delayed"):
        words.append(_("延迟行情"))
    return "  ".join(words)
