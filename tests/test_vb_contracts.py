"""What the broker is asked for instruments, and how often, without a wire."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.clock import SystemClock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import BrokerError, InvalidRequest
from vnpy_vbrokers.contracts import BASIC_QUOTE, Contracts

KEYS = [(f"A{chr(65 + number // 26)}{chr(65 + number % 26)}", Exchange.SMART) for number in range(200)]


class Gateway:
    """Answers quotes, or refuses them all."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = False

    async def read(self, route: str, params: dict[str, Any]) -> Any:
        assert route == BASIC_QUOTE
        self.asked += 1
        if self.refuses:
            raise InvalidRequest("参数错误", about=route, code="1016")
        return {"basicQot": [{"security": security, "lastPrice": "10"} for security in params["security"]]}


def test_a_gateway_that_refuses_what_it_knows_is_not_asked_for_each_by_itself(tmp_path: Path) -> None:
    gateway = Gateway()
    contracts = Contracts(
        read=gateway.read,
        clock=SystemClock(),
        cache=ContractCache(tmp_path, "VBROKERS"),
        gateway_name="VBROKERS",
        on_contract=lambda contract: None,
        log=lambda line: None,
    )

    async def ask() -> None:
        await contracts.ensure(KEYS)
        assert len(await contracts.quotes(KEYS)) == len(KEYS)
        assert gateway.asked == 2
        gateway.refuses = True
        with pytest.raises(BrokerError, match="参数错误"):
            await contracts.quotes(KEYS)

    asyncio.run(ask())
    assert gateway.asked < 30
