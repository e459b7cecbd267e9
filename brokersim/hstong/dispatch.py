"""From a request's path and body to the answer's envelope: routes, aliases, login, errors (vbrokers-openapi 2 to 5)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from brokersim.hstong.codes import GatewayError
from brokersim.hstong.params import Params
from brokersim.hstong.session import LoginSession
from brokersim.hstong.switches import Switches

LOGIN = "/trade/TradeLogin"
MUTATIONS = frozenset(
    {
        "/trade/TradeEntrust",
        "/trade/TradeCancelEntrust",
        "/trade/TradeBatchCancelEntrust",
        "/trade/TradeChangeEntrust",
    }
)
CURSOR_LISTS = frozenset(
    {
        "/trade/TradeQueryRealEntrustList",
        "/trade/TradeQueryRealDeliverList",
        "/trade/TradeQueryHistoryEntrustList",
        "/trade/TradeQueryHistoryDeliverList",
        "/trade/TradeQueryRealFundJourList",
        "/trade/TradeQueryHistoryFundJourList",
    }
)
ALIAS_ENDINGS = ("RequestMsgType", "Request")
MARKET_DATA = "/hq/"

Route = Callable[[Params], object]


class Envelope(msgspec.Struct):
    """What is read of a request: everything else in it is ignored (2.1)."""

    params: dict[str, Any] | None = None
    timeout_sec: object = None


class BadRequest(Exception):
    """The request is no call at all; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.error = GatewayError(code, text)


class Dispatcher:
    """The route table, and the rules that hold for every route."""

    def __init__(self, routes: Mapping[str, Route], session: LoginSession, switches: Switches) -> None:
        self._routes = routes
        self._session = session
        self._switches = switches

    def canonical(self, path: str) -> str:
        """The route that a path names, an alias (``XRequest``, ``XRequestMsgType``) resolved."""
        for ending in ALIAS_ENDINGS:
            if path.endswith(ending) and path.removesuffix(ending) in self._routes:
                return path.removesuffix(ending)
        return path

    def read(self, method: str, body: bytes) -> Params:
        """The parameters of a call; :class:`BadRequest` when it is not a POST of a JSON object."""
        if method != "POST":
            raise BadRequest(405, "1010", "只接受 POST 请求")
        try:
            envelope = msgspec.json.decode(body, type=Envelope)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(400, "1010", "请求不是合法的 JSON 对象") from error
        return Params(envelope.params or {})

    def call(self, route: str, params: Params) -> object:
        """Carry a call out; :class:`GatewayError` when it is refused."""
        act = self._routes.get(route)
        if act is None:
            raise GatewayError("1009")
        if route.startswith(MARKET_DATA):
            if self._switches.hq_needs_login:
                self._session.require()
        elif route != LOGIN:
            self._session.require()
        return act(params)

    def success(self, data: object) -> bytes:
        """The envelope of an answer (2.2)."""
        return _json({"ok": True, "err": "", "data": _without_zeros(data) if self._switches.omit_zeros else data})

    def failure(self, error: GatewayError) -> bytes:
        """The envelope of a refusal, in the style that the switch wants."""
        style = self._switches.err_style
        words = {"code_text": str(error), "code": error.code, "text": error.text or error.code}
        return _json({"ok": False, "err": words[style], "data": {}})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _without_zeros(value: object) -> object:
    """``value`` without its zero-valued integers: the real Gateway may not write them (2.3)."""
    if isinstance(value, dict):
        return {key: _without_zeros(one) for key, one in value.items() if type(one) is not int or one != 0}
    if isinstance(value, list):
        return [_without_zeros(one) for one in value]
    return value
