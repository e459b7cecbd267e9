"""券商监控: how each gateway is, what was reconciled, what was ordered and why it was refused; and the brakes."""

from __future__ import annotations

from pathlib import Path

from vnpy.trader.app import BaseApp

from vnpy_brokerkit.i18n import _

from .engine import APP_NAME, EVENT_HEALTH, MonitorEngine

__all__ = ["APP_NAME", "EVENT_HEALTH", "BrokerMonitorApp", "MonitorEngine"]


class BrokerMonitorApp(BaseApp):
    """The app: ``main_engine.add_app(BrokerMonitorApp)``."""

    app_name: str = APP_NAME
    app_module: str = __module__
    app_path: Path = Path(__file__).parent
    display_name: str = _("券商监控")
    engine_class: type[MonitorEngine] = MonitorEngine
    widget_name: str = "MonitorWidget"
    icon_name: str = str(app_path / "ui" / "monitor.png")
