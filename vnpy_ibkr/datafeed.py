"""vn.py's datafeed ``ibkr``: bars of Interactive Brokers without a gateway of that name in the engine."""

from __future__ import annotations

import os
from typing import Any

from vnpy_brokerkit.datafeed import GatewayDatafeed

from .gateway import IbkrGateway
from .settings import read_settings

OWN_CLIENT_IDS = 10_000
"""Client ids of datafeeds begin here: TWS refuses a second connection with an id that is in use (326)."""
MOST_PROCESSES = 10_000


class Datafeed(GatewayDatafeed):
    """``datafeed.name`` = ``ibkr`` in vn.py's settings; user name and password there stay blank.

    It uses the connected IBKR gateway, else connects with what its connect dialog saved, under a client id of its own.
    """

    gateway_class = IbkrGateway

    def private_setting(self, saved: dict[str, Any]) -> dict[str, Any]:
        client_id = OWN_CLIENT_IDS + os.getpid() % MOST_PROCESSES
        setting = {**saved, "客户号": client_id, "预加载合约": "", "只读": "是"}
        read_settings(setting)
        return setting
