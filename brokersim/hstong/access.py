"""Login, logout and the order-push switch (vbrokers-openapi 3, 7.10)."""

from __future__ import annotations

from brokersim.hstong.backend import Backend
from brokersim.hstong.codes import GatewayError
from brokersim.hstong.crypto import decrypt
from brokersim.hstong.params import Params

LOGIN_REPLIES = {"success": {"success": True}, "data": {"data": "ok"}}


class Access:
    """The session routes; ``password`` is the one that logs in."""

    def __init__(self, backend: Backend, password: str) -> None:
        self._backend = backend
        self._password = password
        self.routes = {
            "/trade/TradeLogin": self.log_in,
            "/trade/TradeLogout": self.log_out,
            "/trade/TradeSubscribe": self.subscribe,
            "/trade/TradeUnsubscribe": self.unsubscribe,
        }

    def log_in(self, params: Params) -> object:
        """Log in with ``password``, the cipher text; ``tradePassword`` is a wrong name for it (3.1)."""
        if params.has("tradePassword"):
            raise GatewayError("1016", "参数无效 tradePassword")
        if decrypt(params.text("password")) != self._password:
            raise GatewayError("1008", "交易密码错误")
        self._backend.session.log_in()
        return LOGIN_REPLIES[self._backend.switches.login_reply]

    def log_out(self, params: Params) -> object:
        """End the session for all clients."""
        self._backend.session.end("none")
        return {"success": True}

    def subscribe(self, params: Params) -> object:
        """Order pushes begin."""
        self._backend.session.pushes_orders = True
        return {"success": True}

    def unsubscribe(self, params: Params) -> object:
        """Order pushes end."""
        self._backend.session.pushes_orders = False
        return {"success": True}
