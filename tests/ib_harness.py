"""The same rig for IBKR: a MainEngine with the gateway beside a simulated TWS."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.harness import SHORT, Rig
from vnpy_ibkr.gateway import IbkrGateway

ACCOUNT = "DU1000001"
SHORT_IB = replace(
    SHORT, connect_timeout=1, heartbeat=1, heartbeat_answer=1, held_line=1, code_grace=0.2, commission_wait=0.1
)


class IbRig(Rig):
    """Simulator, engine and IBKR gateway; compares the trading account's part of the broker's truth."""

    name = "IBKR"
    broker = "tws"
    gateway_class = IbkrGateway
    account = ACCOUNT

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"vbrokers": False, "tws": True, "timing": SHORT_IB, **options})

    def setting(self, **changes: Any) -> dict[str, Any]:
        host, _colon, port = (self.sim.tws_address or ":0").rpartition(":")
        return {
            "环境": "模拟盘",
            "TWS地址": host,
            "TWS端口": int(port),
            "客户号": 1,
            "交易账户": self.account,
            **changes,
        }

    def truth(self) -> dict[str, Any]:
        """Orders, trades and positions of the trading account; the funds of all linked ones."""
        truth = super().truth()
        for part in ("orders", "trades", "positions"):
            truth[part] = [row for row in truth[part] if row["account"] == self.account]
        return truth
