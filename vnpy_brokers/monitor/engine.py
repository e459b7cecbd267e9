"""The monitor without a window: the health of every gateway as events, and what a person may do to them."""

from __future__ import annotations

from vnpy.event import EVENT_TIMER, Event, EventEngine
from vnpy.trader.engine import BaseEngine, MainEngine

from vnpy_brokerkit.async_gateway import AsyncGateway
from vnpy_brokerkit.health import Health
from vnpy_brokerkit.i18n import _

APP_NAME = "BrokerMonitor"
EVENT_HEALTH = "eBrokerHealth."
"""Its data is a dict of built-in types (``Health.plain()``), since vn.py's RPC pickles every event to other processes.
It comes about once a second for each gateway, also under this name followed by the gateway's."""


def watched(main_engine: MainEngine) -> dict[str, AsyncGateway]:
    """Return the gateways that can tell how they are, by name, in the order in which they were added."""
    return {name: gateway for name, gateway in main_engine.gateways.items() if isinstance(gateway, AsyncGateway)}


class MonitorEngine(BaseEngine):
    """Tells the health of the gateways, and passes on a person's commands. For any thread; nothing here waits."""

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        super().__init__(main_engine, event_engine, APP_NAME)
        self._told_fault = False
        event_engine.register(EVENT_TIMER, self._on_timer)

    def gateways(self) -> dict[str, AsyncGateway]:
        """Return the gateways that are watched, by name."""
        return watched(self.main_engine)

    def health(self) -> dict[str, Health]:
        """Return the health of each of them."""
        return {name: gateway.health() for name, gateway in self.gateways().items()}

    def stop_orders(self, on: bool, gateway_name: str = "") -> None:
        """Pull or release the kill switch of one gateway, or of all."""
        for name, gateway in self.gateways().items():
            if gateway_name in ("", name):
                gateway.stop_orders(on)

    def reconcile(self, gateway_name: str) -> None:
        """Compare a gateway with its broker now; the report comes with its health."""
        self.gateways()[gateway_name].reconcile()

    def cancel_all(self, gateway_name: str, market: str = "") -> None:
        """Cancel a gateway's own working orders, of one market (a ``Market.key``) or of all."""
        self.gateways()[gateway_name].cancel_all(market)

    def close(self) -> None:
        self.event_engine.unregister(EVENT_TIMER, self._on_timer)

    def _on_timer(self, event: Event) -> None:
        """An exception out of an event handler would end vn.py's event thread for good."""
        try:
            for name, health in self.health().items():
                plain = health.plain()
                self.event_engine.put(Event(EVENT_HEALTH, plain))
                self.event_engine.put(Event(EVENT_HEALTH + name, plain))
        except Exception as error:  # noqa: BLE001  whatever it is, it is told once, and events go on
            if not self._told_fault:
                self._told_fault = True
                self.main_engine.write_log(_("内部错误：{!r}；请将日志反馈给开发者").format(error), APP_NAME)
