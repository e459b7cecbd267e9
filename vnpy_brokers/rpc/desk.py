"""What the server does with the questions of its clients. Lives in the front's thread; what takes time goes elsewhere.

**Orders are carried out once.** A client gives each order its id, of the shape that the gateways' own have, and sends
it once. The desk remembers every id and its word on it. An id that it is asked about and never had is refused from
then on, whatever still arrives: only then may the client say that the order never reached the server. What an earlier
process took is in the gateway's journal, which is written before anything goes to the broker. An order that waited on
its way is refused, as a gateway refuses it: its price is not the trader's any more.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Raw
from vnpy.trader.constant import Direction, Exchange, Interval, Offset, OrderType
from vnpy.trader.engine import MainEngine
from vnpy.trader.gateway import BaseGateway
from vnpy.trader.logger import logger
from vnpy.trader.object import BarData, BaseData, CancelRequest, HistoryRequest, OrderRequest, SubscribeRequest

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.errors import HistoryError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.identity import letters_for
from vnpy_brokerkit.routes import registry_for
from vnpy_brokerkit.timing import Timing

from .codec import Codec, encode, name_in, time_in
from .front import Caller
from .messages import (
    ACCEPTED,
    REFUSED,
    ROWS_A_PART,
    UNSURE,
    Ask,
    CancelOrder,
    Doubt,
    History,
    KnowOrders,
    Ping,
    PlaceOrder,
    Poke,
    Pong,
    Query,
    Quoted,
    SnapshotPart,
    Subscribe,
    TakeSnapshot,
    Verdict,
)
from .publisher import Publisher

DOWNLOADS = 4
"""Histories that are read at the same time."""
MOST_DOWNLOADS = 64
"""With those that wait."""
MOST_REMEMBERED = 200_000
SURE_FOR_S = 2 * 86400.0
"""What a journal does not show of an order that is older can't be told from what it does not tell any more."""
ORDER_ID = re.compile(r"([A-Z]{2})[0-9a-z]{6,30}-[0-9a-z]{1,13}")

_direction, _type, _offset = name_in(Direction), name_in(OrderType), name_in(Offset)
_exchange, _interval = name_in(Exchange), name_in(Interval)


class Desk:
    """Carries out questions on the gateways of an engine. ``post`` makes a call in the front's thread."""

    def __init__(
        self,
        main_engine: MainEngine,
        publisher: Publisher,
        codec: Codec,
        zone: ZoneInfo,
        timing: Timing,
    ) -> None:
        self._main_engine = main_engine
        self._publisher = publisher
        self._codec = codec
        self._zone = zone
        self._timing = timing
        self.post: Callable[[Callable[[], None]], None] = lambda call: call()
        self._orders: OrderedDict[tuple[str, str], Verdict] = OrderedDict()
        self._subscribed: set[tuple[str, str, Exchange]] = set()
        self._downloads: dict[int, Caller] = {}
        self._next_download = 0
        self._rooms: dict[type, Callable[[Any, Caller], None]] = {
            Ping: self._ping,
            Poke: self._poke,
            PlaceOrder: self._place,
            CancelOrder: self._cancel,
            KnowOrders: self._know,
            Subscribe: self._subscribe,
            TakeSnapshot: self._snapshot,
            History: self._history,
            Query: self._query,
        }
        self.snapshots = Workers("rpc-snapshot", 1)
        self.histories = Workers("rpc-history", DOWNLOADS)

    def handle(self, ask: Ask, caller: Caller) -> None:
        """Carry out one question."""
        self._rooms[type(ask)](ask, caller)

    def every_turn(self) -> None:
        """Twice a second: who waits for bars hears that they are being read."""
        for caller in self._downloads.values():
            caller.working()

    def end(self) -> None:
        """Take no more work. What is being read ends with its gateway."""
        self.snapshots.end()
        self.histories.end()

    def _ping(self, ask: Ping, caller: Caller) -> None:
        caller.done(Pong(self._publisher.epoch, monotonic()))

    def _poke(self, ask: Poke, caller: Caller) -> None:
        self._publisher.call(self._publisher.poke)
        caller.done(None)

    def _gateway(self, name: str) -> BaseGateway | None:
        return self._main_engine.gateways.get(name)

    def _no_gateway(self, name: str) -> str:
        return _("服务器没有名为{}的接口，可用：{}").format(name, _("、").join(self._main_engine.gateways))

    # ------------------------------------------------------------------ orders

    def _place(self, ask: PlaceOrder, caller: Caller) -> None:
        key = (ask.gateway, ask.orderid)
        verdict = self._orders.get(key)
        if verdict is None:
            verdict = self._judge(ask)
            self._remember(key, verdict)
            if verdict.word == ACCEPTED:
                self._send_order(ask, key)
        caller.done(self._orders[key])

    def _judge(self, ask: PlaceOrder) -> Verdict:
        """Whether an order that was never heard of may go to its gateway."""
        gateway = self._gateway(ask.gateway)
        found = ORDER_ID.fullmatch(ask.orderid)
        late = monotonic() - ask.seen
        most = self._timing.order_max_age
        if gateway is None:
            reason = self._no_gateway(ask.gateway)
        elif not isinstance(gateway, AsyncGateway):
            reason = _("接口{}不支持经RPC下单").format(ask.gateway)
        elif not gateway.event_engine_runs():
            reason = _("程序正在关闭，未发送")  # what the gateway says of it no client would hear
        elif found is None or found[1] != letters_for(ask.gateway):
            reason = _("委托号{}的格式不对，未发送；请更新客户端").format(ask.orderid)
        elif ask.epoch != self._publisher.epoch:
            reason = _("服务器已重新启动，委托未发送；请确认价格后重新下单")
        elif late > most:
            reason = _("委托在途中等待了{:.0f}秒，价格可能已过时，未发送").format(late)
        else:
            return Verdict(ACCEPTED)
        return Verdict(REFUSED, reason)

    def _send_order(self, ask: PlaceOrder, key: tuple[str, str]) -> None:
        gateway = self._gateway(ask.gateway)
        try:
            request = OrderRequest(
                symbol=ask.symbol,
                exchange=_exchange(ask.exchange),
                direction=_direction(ask.direction),
                type=_type(ask.type),
                volume=ask.volume,
                price=ask.price,
                offset=_offset(ask.offset),
                reference=ask.reference,
            )
        except ValueError as error:
            self._remember(key, Verdict(REFUSED, _("请求无效，未发送：{}").format(error)))
            return
        if isinstance(gateway, AsyncGateway):
            self._main_engine.write_log(_("RPC下单 -> {}：{} {}").format(ask.gateway, ask.orderid, request))
            gateway.send_order_as(request, ask.orderid)

    def _remember(self, key: tuple[str, str], verdict: Verdict) -> None:
        self._orders[key] = verdict
        if len(self._orders) > MOST_REMEMBERED:
            self._orders.popitem(last=False)

    def _cancel(self, ask: CancelOrder, caller: Caller) -> None:
        gateway = self._gateway(ask.gateway)
        if gateway is None:
            caller.done(Verdict(REFUSED, self._no_gateway(ask.gateway)))
            return
        try:
            request = CancelRequest(ask.orderid, ask.symbol, _exchange(ask.exchange))
        except ValueError as error:
            caller.done(Verdict(REFUSED, _("请求无效，未发送：{}").format(error)))
            return
        self._main_engine.write_log(_("RPC撤单 -> {}：{}").format(ask.gateway, ask.orderid))
        gateway.cancel_order(request)
        caller.done(Verdict(ACCEPTED))

    def _know(self, ask: KnowOrders, caller: Caller) -> None:
        verdicts: list[Verdict | None] = [None] * len(ask.orders)
        if not verdicts:
            caller.done(verdicts)

        def judged(place: int, doubt: Doubt, known: bool | None) -> None:
            verdicts[place] = self._settle((ask.gateway, doubt.orderid), doubt, known)
            if None not in verdicts:
                caller.done(verdicts)

        gateway = self._gateway(ask.gateway)
        for place, doubt in enumerate(ask.orders):
            same_process = doubt.epoch == self._publisher.epoch
            if same_process or not isinstance(gateway, AsyncGateway) or (ask.gateway, doubt.orderid) in self._orders:
                judged(place, doubt, False if same_process else None)
            else:
                settle = partial(judged, place, doubt)
                gateway.knows_order(doubt.orderid, lambda known, settle=settle: self.post(partial(settle, known)))  # type: ignore[misc]  # mypy can't type the default

    def _settle(self, key: tuple[str, str], doubt: Doubt, known: bool | None) -> Verdict:
        """The word on an order that a client has had no answer to; ``known`` is the gateway's."""
        remembered = self._orders.get(key)
        if remembered is not None:
            return remembered
        if known is None or (not known and doubt.age > SURE_FOR_S):
            return Verdict(UNSURE)
        verdict = Verdict(ACCEPTED) if known else Verdict(REFUSED, _("委托没有到达服务器，未发送"))
        self._remember(key, verdict)
        return verdict

    # ------------------------------------------------------------------ quotes

    def _subscribe(self, ask: Subscribe, caller: Caller) -> None:
        named = self._gateway(ask.gateway)
        if named is None:
            caller.failed(self._no_gateway(ask.gateway))
            return
        routes = registry_for(self._main_engine.event_engine)
        shown = []
        for symbol, exchange_name in ask.symbols:
            try:
                exchange = _exchange(exchange_name)
            except ValueError as error:
                shown.append(f"{symbol}.{exchange_name}")
                self._main_engine.write_log(_("RPC订阅无效：{}").format(error))
                continue
            # Only the owner's ticks reach the engine: that another one is named would bring nothing.
            gateway = self._gateway(routes.owner(_canonical(named, symbol, exchange))) or named
            vt_symbol = _canonical(gateway, symbol, exchange)
            asked = (gateway.gateway_name, symbol, exchange)
            # Once it is shown it stays so; until then it is asked again, as the gateway may have found nothing.
            if asked not in self._subscribed or self._main_engine.get_tick(vt_symbol) is None:
                self._subscribed.add(asked)
                gateway.subscribe(SubscribeRequest(symbol, exchange))
            shown.append(vt_symbol)
        self._publisher.call(lambda: self._show_ticks(shown, caller))

    def _show_ticks(self, vt_symbols: list[str], caller: Caller) -> None:
        """In the event thread: the last ticks, as they stand in the stream."""
        quoted = []
        for vt_symbol in vt_symbols:
            tick = self._main_engine.get_tick(vt_symbol)
            number = self._publisher.tick_number(vt_symbol)
            quoted.append(Quoted(vt_symbol, [Raw(self._codec.tick(number, tick))] if tick else []))
        self._publisher.poke()
        caller.done(quoted)

    # ------------------------------------------------------------------ everything

    def _snapshot(self, ask: TakeSnapshot, caller: Caller) -> None:
        self._publisher.call(lambda: self._take_snapshot(caller))

    def _take_snapshot(self, caller: Caller) -> None:
        """In the event thread: nothing is published between the lists and the number."""
        engine, publisher = self._main_engine, self._publisher
        rows: list[BaseData] = [
            *engine.get_all_contracts(),
            *engine.get_all_accounts(),
            *engine.get_all_positions(),
            *engine.get_all_orders(),
            *engine.get_all_trades(),
        ]
        head = (publisher.epoch, publisher.number, list(engine.gateways), sorted(publisher.ready))
        self.snapshots.do(lambda: self._write_snapshot(head, rows, caller))

    def _write_snapshot(
        self, head: tuple[int, int, list[str], list[str]], rows: list[BaseData], caller: Caller
    ) -> None:
        """In a worker: what the engine shows is never changed."""
        parts = [rows[start : start + ROWS_A_PART] for start in range(0, len(rows), ROWS_A_PART)] or [[]]
        for place, part in enumerate(parts):
            encoded = []
            for data in part:
                kind, row = self._codec.row(data)
                encoded.append((kind, Raw(encode(row))))
            body = SnapshotPart(*head, encoded)
            if place == len(parts) - 1:
                caller.done(body, place)
            else:
                caller.part(encode(body), place)

    # ------------------------------------------------------------------ bars and funds

    def _query(self, ask: Query, caller: Caller) -> None:
        gateway = self._gateway(ask.gateway)
        if gateway:
            (gateway.query_account if ask.what == "account" else gateway.query_position)()
        caller.done(None)

    def _history(self, ask: History, caller: Caller) -> None:
        gateway = self._gateway(ask.gateway)
        if gateway is None:
            caller.failed(self._no_gateway(ask.gateway))
            return
        if len(self._downloads) >= MOST_DOWNLOADS:
            caller.failed(_("服务器同时下载的历史数据过多，请稍后再试"))
            return
        try:
            exchange, interval = _exchange(ask.exchange), _interval(ask.interval)
            start, end = time_in(ask.start, self._zone), time_in(ask.end, self._zone)
        except ValueError as error:
            caller.failed(_("请求无效，未发送：{}").format(error))
            return
        if start is None:
            caller.failed(_("请求无效，未发送：{}").format("start"))
            return
        request = HistoryRequest(ask.symbol, exchange, start, end, interval)
        number = self._next_download = self._next_download + 1
        self._downloads[number] = caller
        self.histories.do(lambda: self._download(gateway, request, caller, number))

    def _download(self, gateway: BaseGateway, request: HistoryRequest, caller: Caller, number: int) -> None:
        """In a worker: read the bars, however long it takes, and hand them over in parts."""
        try:
            bars: list[BarData] = gateway.query_history(request)
            starts = range(0, len(bars), ROWS_A_PART)
            for part, start in enumerate(starts):
                caller.part(self._codec.bars(bars[start : start + ROWS_A_PART]), part)
            caller.done(None, len(starts))
        except HistoryError as error:
            caller.failed(error.text, error.about, error.code)
        except Exception as error:  # noqa: BLE001  whatever it is, the client must not wait for ever
            caller.failed(_("内部错误：{!r}；请将日志反馈给开发者").format(error), request.vt_symbol)
        finally:
            self.post(lambda: self._forget_download(number))

    def _forget_download(self, number: int) -> None:
        self._downloads.pop(number, None)


def _canonical(gateway: BaseGateway, symbol: str, exchange: Exchange) -> str:
    key = gateway.canonical(symbol, exchange) if isinstance(gateway, AsyncGateway) else (symbol, exchange)
    return f"{key[0]}.{key[1].value}"


class Workers:
    """Threads for work that takes time. They hold up neither a close nor the end of the process."""

    def __init__(self, name: str, count: int) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _each in range(count)]
        for thread in self._threads:
            thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Do something when a thread is free. For any thread."""
        self._work.put(work)

    def end(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        for _thread in self._threads:
            self._work.put(None)

    def join(self, seconds: float) -> None:
        """Wait for what is under way, a while."""
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception as error:  # noqa: BLE001  one piece of work must not end the thread; it is told
                logger.error("RPC: {!r}", error)
