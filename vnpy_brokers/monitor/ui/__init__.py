"""The monitor's page, and the lamps for the main window."""

from .lamps import LampBar
from .widget import MonitorWidget

__all__ = ["LampBar", "MonitorWidget"]
