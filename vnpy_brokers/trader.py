"""The vn.py engine with the gateways and apps that the door was asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from vnpy.event import EventEngine
from vnpy.trader.app import BaseApp
from vnpy.trader.engine import MainEngine
from vnpy.trader.object import BarData, HistoryRequest, LogData

from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.routes import registry_for

from .options import RpcOptions
from .refusal import Refusal
from .rpc.gateway import RemoteGateway
from .rpc.server import RpcServerEngine
from .settings import gateway_class
from .stopping import ends_in_time

# Apps of the window, in menu order.
APPS: Sequence[str] = (
    "vnpy_brokers.monitor:BrokerMonitorApp",
    "vnpy_brokers.adopt:CtaStrategyApp",
    "vnpy_ctabacktester:CtaBacktesterApp",
    "vnpy_rpcservice:RpcServiceApp",
    "vnpy_datamanager:DataManagerApp",
)


class TraderEngine(MainEngine):
    """vn.py's engine, closed once however many parts of the door ask for it, with history where the routes say."""

    def __init__(self, event_engine: EventEngine) -> None:
        super().__init__(event_engine)
        self._closed = False

    def close(self) -> None:
        """Close engines and gateways, or end the process when that hangs; a second call does nothing."""
        if not self._closed:
            self._closed = True
            with ends_in_time():
                super().close()

    def query_history(self, req: HistoryRequest, gateway_name: str) -> list[BarData]:
        """Ask the gateway that ``broker_routes.json`` names for the history of an instrument; blocks its caller.

        vn.py's apps ask the owner of the contract, and only that is routed: who names another gateway means it.
        """
        routes = registry_for(self.event_engine)
        if gateway_name == routes.owner(req.vt_symbol):
            gateway_name = routes.history(req.vt_symbol)
        return super().query_history(req, gateway_name)

    def add_gateways(self, names: Sequence[str], *, remote: bool = False) -> None:
        """Add the gateways of these names, in this order; ``remote``: those of an RPC server."""
        for name in names:
            self.add_gateway(RemoteGateway if remote else gateway_class(name), name)

    def add_apps(self, apps: Sequence[str]) -> None:
        """Add the apps, each written as ``module:class``, once."""
        for path in apps:
            module, attribute = path.split(":")
            app: type[BaseApp] = getattr(import_module(module), attribute)
            if app.app_name not in self.apps:
                self.add_app(app)

    def connect_all(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Connect each named gateway. One that raises leaves a line; the others still connect."""
        for name, setting in settings.items():
            try:
                self.connect(dict(setting), name)
            except Exception as error:  # noqa: BLE001 - one gateway's failure must not keep the others away
                # No text of the exception: it may quote the settings, which hold a password.
                text = _("连接 {} 时出错（{}），请检查它的设置").format(name, type(error).__name__)
                self.gateways[name].on_log(LogData(name, text, logging.ERROR))

    def start_rpc(self, options: RpcOptions) -> None:
        """Serve the gateways to other processes. Raises `Refusal`."""
        try:
            self.add_engine(RpcServerEngine).start(options.reply, options.publish, options.keys)
        except BrokerError as error:
            raise Refusal(error.text) from None
