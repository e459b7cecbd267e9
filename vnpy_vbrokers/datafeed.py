"""vn.py's datafeed ``vbrokers``: bars of VBrokers without a gateway of that name in the engine."""

from __future__ import annotations

import os
from typing import Any

from vnpy_brokerkit.datafeed import GatewayDatafeed

from .gateway import VbrokersGateway
from .settings import read_settings


class Datafeed(GatewayDatafeed):
    """``datafeed.name`` = ``vbrokers`` in vn.py's settings; user name and password there stay blank.

    It uses the connected VBROKERS gateway, else logs in with what its connect dialog saved: the Gateway's session is
    shared by all programs of the machine.
    """

    gateway_class = VbrokersGateway

    def private_setting(self, saved: dict[str, Any]) -> dict[str, Any]:
        setting = {**saved, "预加载合约": "", "只读": "是"}
        read_settings(setting, os.environ)
        return setting
