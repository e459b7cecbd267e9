"""vn.py's own RPC client, ``vnpy_rpcservice.RpcGateway``, served as vn.py serves it: on loopback without keys only.

It gets pickles of everything that it may ask for, and what it sends is read by :mod:`vnpy_brokers.rpc.pickles`. What is
wrong with it stays: it calls every gateway RPC, learns contracts at its connect only, and waits for each answer.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from time import monotonic, time
from typing import Any

from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.engine import MainEngine
from vnpy.trader.object import CancelRequest, HistoryRequest, OrderRequest, SubscribeRequest

from vnpy_brokerkit.i18n import _

from .desk import Workers
from .pickles import read_pickle
from .publisher import EVENT_RPC, PLAIN_HEARTBEAT, PLAIN_NEWS, Publisher

HEARTBEAT_S = 10.0

# What vn.py's service registers, with the types of the arguments. Those without a request return at once.
FUNCTIONS: dict[str, tuple[type, ...]] = {
    "subscribe": (SubscribeRequest, str),
    "send_order": (OrderRequest, str),
    "cancel_order": (CancelRequest, str),
    "query_history": (HistoryRequest, str),
    "get_tick": (str,),
    "get_order": (str,),
    "get_trade": (str,),
    "get_position": (str,),
    "get_account": (str,),
    "get_contract": (str,),
    "get_all_ticks": (),
    "get_all_orders": (),
    "get_all_trades": (),
    "get_all_positions": (),
    "get_all_accounts": (),
    "get_all_contracts": (),
    "get_all_active_orders": (),
}
AT_ONCE = frozenset({"subscribe", "send_order", "cancel_order"})


class PlainDesk:
    """Answers vn.py's clients; lives in the front's thread, but for the publishing, which is the event thread's."""

    def __init__(
        self,
        main_engine: MainEngine,
        quick: Workers,
        slow: Workers,
        tell: Callable[[str, str], None],
    ) -> None:
        self._main_engine = main_engine
        self._quick = quick
        self._slow = slow
        self._tell = tell
        self.publisher: Publisher
        self._publishing = False
        self._beat = 0.0

    # ------------------------------------------------------------------ questions

    def handle(self, frame: bytes, answer: Callable[[bytes], None]) -> None:
        """Carry out one question; a question that is none gets a failure for an answer, since REQ waits for one."""
        try:
            name, arguments = _question(frame)
        except ValueError as error:
            self._tell("pickle", _("RPC拒绝了一个请求（{}）：只接受vn.py自己的请求").format(error))
            answer(_failed("refused"))
            return
        function: Callable[..., object] = getattr(self._main_engine, name)

        def work() -> None:
            try:
                reply = pickle.dumps([True, function(*arguments)], pickle.HIGHEST_PROTOCOL)
            except Exception as error:  # noqa: BLE001  as vn.py does: the client gets it, in one line
                reply = _failed(f"{type(error).__name__}: {error}")
            answer(reply)

        # Who asks has subscribed before, and misses nothing that comes after: its subscription is taken first.
        self.publisher.call(self.publisher.look)
        if name in AT_ONCE:
            work()
        else:
            workers = self._slow if name == "query_history" else self._quick
            self.publisher.call(lambda: workers.do(work))

    # ------------------------------------------------------------------ news

    def on_subscriber(self, there: bool) -> None:
        """In the event thread: begin to publish with the first client, and end with the last."""
        if there is self._publishing:
            return
        self._publishing = there
        events = self._main_engine.event_engine
        (events.register_general if there else events.unregister_general)(self._on_event)

    def _on_event(self, event: Event) -> None:
        publisher = self.publisher
        try:
            if event.type == EVENT_TIMER:
                if monotonic() - self._beat >= HEARTBEAT_S:
                    self._beat = monotonic()
                    publisher.publish_plain([PLAIN_HEARTBEAT, pickle.dumps(time(), pickle.HIGHEST_PROTOCOL)])
            elif event.type != EVENT_RPC:
                publisher.publish_plain([PLAIN_NEWS, pickle.dumps(event, pickle.HIGHEST_PROTOCOL)])
        except Exception as error:  # noqa: BLE001  an exception would end vn.py's event thread (trap 1); it is told
            self._tell("dumps", _("RPC无法发布一个事件（{}）：{!r}").format(event.type, error))


def _question(frame: bytes) -> tuple[str, list[Any]]:
    """Function and arguments. Raises ValueError for what vn.py's client does not send."""
    question = read_pickle(frame)
    if not (isinstance(question, list) and len(question) == 3):
        raise ValueError("no question")
    name, arguments, named = question
    if not isinstance(name, str) or name not in FUNCTIONS or named != {} or not isinstance(arguments, list):
        raise ValueError(f"function {str(name)[:40]!r}")
    if tuple(map(type, arguments)) != FUNCTIONS[name]:
        raise ValueError(f"arguments of {name}")
    return name, arguments


def _failed(text: str) -> bytes:
    return pickle.dumps([False, text], pickle.HIGHEST_PROTOCOL)
