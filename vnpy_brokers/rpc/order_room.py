"""A client's orders and cancels on their way to the server. Lives in the thread of the courier that carries them.

An order leaves once, or it does not leave. One that left and was not answered is asked after by its id, as often as
it takes (:mod:`vnpy_brokers.rpc.desk` answers); meanwhile it stays SUBMITTING. A cancel does no harm twice, so one
that was not answered is sent again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from time import monotonic

import msgspec
from vnpy.trader.object import OrderData, OrderRequest

from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.timing import Timing

from .courier import Courier
from .messages import (
    ACCEPTED,
    FAILED,
    MOST_NAMES,
    REFUSED,
    Answer,
    CancelOrder,
    Doubt,
    Failure,
    KnowOrders,
    PlaceOrder,
    Verdict,
)

ANSWER_S = 1.0
"""An order that is not answered by then is asked after."""
ASK_AGAIN_S = 1.0
UNKNOWN_LINE_S = 5.0

_read_verdict = msgspec.msgpack.Decoder(Verdict).decode
_read_failure = msgspec.msgpack.Decoder(Failure).decode
_read_verdicts = msgspec.msgpack.Decoder(list[Verdict]).decode


@dataclass
class _Sent:
    """An order that left and has not been answered."""

    order: OrderData
    epoch: int
    at: float
    asked: float
    told: bool = False


@dataclass
class _Cancel:
    ask: CancelOrder
    sent: float = 0.0
    told: bool = False


class OrderRoom:
    """Sends orders and cancels; ``log`` takes a line.

    ``accept`` tells of an order that a server took, with its epoch, ``reject`` of one that did not reach it.
    """

    def __init__(
        self,
        accept: Callable[[OrderData, int], None],
        reject: Callable[[OrderData, str], None],
        log: Callable[[str, str], None],
        timing: Timing,
    ) -> None:
        self._accept = accept
        self._reject = reject
        self._log = log
        self._timing = timing
        self.courier: Courier
        self._sent: dict[str, _Sent] = {}
        self._cancels: dict[str, _Cancel] = {}
        self._idle = threading.Event()
        self._idle.set()

    # ------------------------------------------------------------------ for any thread

    def place(self, order: OrderData, request: OrderRequest) -> None:
        """Send an order, now or never; returns at once."""
        self._idle.clear()
        born = monotonic()
        self.courier.post(lambda: self._place(order, request, born))

    def cancel(self, gateway_name: str, ask: CancelOrder) -> None:
        """Send a cancel, now or when there is a connection again; returns at once."""
        self._idle.clear()
        self.courier.post(lambda: self._cancel(f"{gateway_name}.{ask.orderid}", _Cancel(ask)))

    def doubt(self, order: OrderData, epoch: int) -> None:
        """Ask after an order that a server of this epoch took, and that the one after it does not show."""
        self._idle.clear()
        self.courier.post(lambda: self._doubt(order, epoch))

    def drain(self, seconds: float) -> bool:
        """Wait until everything that was sent is answered; tell whether it is."""
        self.courier.post(self._rest)
        return self._idle.wait(seconds)

    # ------------------------------------------------------------------ in the courier's thread

    def on_turn(self) -> None:
        """Ask after what was not answered, and send cancels again."""
        now = monotonic()
        if self.courier.up:
            doubtful: defaultdict[str, list[_Sent]] = defaultdict(list)
            for sent in self._sent.values():
                if now - sent.at >= ANSWER_S and now - sent.asked >= ASK_AGAIN_S:
                    doubtful[sent.order.gateway_name].append(sent)
            for gateway_name, several in doubtful.items():
                self._ask_after(gateway_name, several[:MOST_NAMES])
            for key, cancel in list(self._cancels.items()):
                if now - cancel.sent >= ASK_AGAIN_S:
                    self._send_cancel(key, cancel)
        for sent in self._sent.values():
            if not sent.told and now - sent.at >= UNKNOWN_LINE_S:
                sent.told = True
                text = _("委托{}结果未知：服务器没有回应；不会重发，连接恢复后核实")
                self._log(sent.order.gateway_name, text.format(sent.order.orderid))

    def _rest(self) -> None:
        if not self._sent and not self._cancels:
            self._idle.set()

    def _place(self, order: OrderData, request: OrderRequest, born: float) -> None:
        courier, now = self.courier, monotonic()
        most = self._timing.order_max_age
        reason = ""
        if not courier.up:
            reason = _("与RPC服务器没有连接，未发送；请等待连接恢复")
        elif now - born > most:
            reason = _("等待发送超过{:g}秒，价格可能已过时，未发送").format(most)
        else:
            try:
                ask = PlaceOrder(
                    gateway=order.gateway_name,
                    orderid=order.orderid,
                    epoch=courier.epoch,
                    seen=courier.server_second,
                    symbol=request.symbol,
                    exchange=request.exchange.name,
                    direction=request.direction.name,
                    type=request.type.name,
                    offset=request.offset.name,
                    volume=float(request.volume),
                    price=float(request.price),
                    reference=request.reference,
                )
                courier.ask(ask, lambda answer: self._on_verdict(order.vt_orderid, answer))
                self._sent[order.vt_orderid] = _Sent(order, courier.epoch, now, now)
            except ConnectionFailed:
                reason = _("与RPC服务器没有连接，未发送；请等待连接恢复")
            except (ValueError, TypeError, AttributeError) as error:  # a caller's None or text in the wrong place
                reason = _("请求无效，未发送：{}").format(error)
        if reason:
            self._reject(order, reason)
        self._rest()

    def _doubt(self, order: OrderData, epoch: int) -> None:
        age = max(0.0, (datetime.now(timezone.utc) - order.datetime).total_seconds()) if order.datetime else 0.0
        sent = _Sent(order, epoch, at=monotonic() - age - ANSWER_S, asked=0.0, told=True)
        self._sent.setdefault(order.vt_orderid, sent)

    def _on_verdict(self, vt_orderid: str, answer: Answer) -> None:
        self.courier.forget(answer.number)
        if answer.state != FAILED:
            self._settle(vt_orderid, _read_verdict(answer.body))

    def _settle(self, vt_orderid: str, verdict: Verdict) -> None:
        sent = self._sent.get(vt_orderid)
        if sent is None or verdict.word not in (ACCEPTED, REFUSED):
            return
        del self._sent[vt_orderid]
        if verdict.word == REFUSED:
            self._reject(sent.order, verdict.reason)
        else:
            self._accept(sent.order, sent.epoch)
        self._rest()

    def _ask_after(self, gateway_name: str, several: list[_Sent]) -> None:
        now = monotonic()
        doubts = [Doubt(sent.order.orderid, sent.epoch, now - sent.at) for sent in several]
        for sent in several:
            sent.asked = now

        def on_verdicts(answer: Answer) -> None:
            self.courier.forget(answer.number)
            if answer.state != FAILED:
                for sent, verdict in zip(several, _read_verdicts(answer.body), strict=True):
                    self._settle(sent.order.vt_orderid, verdict)

        try:
            self.courier.ask(KnowOrders(gateway_name, doubts), on_verdicts)
        except ConnectionFailed:
            return  # asked again at the next turn

    def _cancel(self, key: str, cancel: _Cancel) -> None:
        self._cancels[key] = cancel
        if self.courier.up:
            self._send_cancel(key, cancel)
        if not cancel.sent:
            text = _("与RPC服务器没有连接，委托{}的撤单将在连接恢复后发送")
            self._log(cancel.ask.gateway, text.format(cancel.ask.orderid))

    def _send_cancel(self, key: str, cancel: _Cancel) -> None:
        def on_verdict(answer: Answer) -> None:
            self.courier.forget(answer.number)
            if self._cancels.pop(key, None):
                if answer.state == FAILED:
                    reason = _read_failure(answer.body).text
                else:
                    reason = _read_verdict(answer.body).reason
                if reason:
                    self._log(cancel.ask.gateway, _("撤单{}失败：{}").format(cancel.ask.orderid, reason))
            self._rest()

        try:
            self.courier.ask(cancel.ask, on_verdict)
        except ConnectionFailed:
            return
        except ValueError as error:
            self._cancels.pop(key, None)
            self._log(cancel.ask.gateway, _("请求无效，未发送：{}").format(error))
            self._rest()
            return
        cancel.sent = monotonic()
