"""A wire to no TWS: answers of a table, requests as they were sent, and streams that a test speaks to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import PriceIncrement

from vnpy_brokerkit.errors import ConnectionFailed
from vnpy_ibkr.errors import error_for
from vnpy_ibkr.wire.events import Stream


def details(
    symbol: str,
    con_id: int,
    *,
    kind: str = "STK",
    exchange: str = "SMART",
    primary: str = "NASDAQ",
    currency: str = "USD",
    zone: str = "US/Eastern",
    rules: str = "26",
    **more: Any,
) -> ContractDetails:
    """What TWS would say about a contract; ``more`` goes to the contract where it has such a field, else beside it."""
    contract = Contract(
        secType=kind,
        conId=con_id,
        symbol=symbol,
        exchange=exchange,
        primaryExchange=primary,
        currency=currency,
        localSymbol=more.pop("local", symbol),
        tradingClass=more.pop("trading_class", symbol),
        lastTradeDateOrContractMonth=more.pop("expiry", ""),
        right=more.pop("right", ""),
        strike=more.pop("strike", 0.0),
        multiplier=more.pop("multiplier", ""),
    )
    said = {
        "longName": f"{symbol} INC",
        "minTick": 0.01,
        "priceMagnifier": 1,
        "validExchanges": f"{exchange},{primary}",
        "marketRuleIds": f"{rules},{rules}",
        "timeZoneId": zone,
        "liquidHours": "20261119:0930-20261119:1600;20261120:0930-20261120:1600;20261121:CLOSED",
        "tradingHours": "20261119:0400-20261119:2000;20261120:0400-20261120:2000;20261121:CLOSED",
        "minSize": 0.0001,
        "sizeIncrement": 0.0001,
        "stockType": "COMMON" if kind == "STK" else "",
    }
    return ContractDetails(contract=contract, **{**said, **more})


RULES = {26: [PriceIncrement(0.0, 0.0001), PriceIncrement(1.0, 0.01)], 9: [PriceIncrement(0.0, 0.25)]}


class FakeClient:
    """Every request of ib_async's client, as (name, arguments)."""

    def __init__(self, sent: list[tuple[str, tuple[Any, ...]]]) -> None:
        self._sent = sent

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self._sent.append((name, args))


class FakeWire:
    """``answers`` tells the rows of a query; nothing for it is TWS's 200."""

    def __init__(self, answers: Callable[[Contract], list[ContractDetails]]) -> None:
        self.answers = answers
        self.sent: list[tuple[str, tuple[Any, ...]]] = []
        self.client: Any = FakeClient(self.sent)
        self.streams: dict[int, Stream] = {}
        self.connected = True
        self.failing: Exception | None = None
        self._id = 100

    def next_id(self) -> int:
        self._id += 1
        return self._id

    async def ask(self, send: Callable[[int], None], about: str, timeout: float = 10) -> list[Any]:
        if self.failing:
            raise self.failing
        send(self.next_id())
        query = self.sent[-1][1][1]
        rows = self.answers(query)
        if not rows:
            raise error_for(200, "No security definition has been found for the request", about=about)
        return rows

    async def ask_plain(self, key: str, send: Callable[[], None], timeout: float = 10) -> list[Any]:
        send()
        return list(RULES.get(int(key.partition(":")[2]), []))

    def post(self, send: Callable[[], None], about: str) -> None:
        if not self.connected:
            raise ConnectionFailed("not connected", about=about)
        send()

    async def written(self) -> None:
        """Nothing is kept back here."""

    def listen(self, req_id: int, stream: Stream) -> None:
        self.streams[req_id] = stream

    def forget(self, req_id: int) -> None:
        self.streams.pop(req_id, None)

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """The arguments of every request of a name."""
        return [args for sent, args in self.sent if sent == name]


def answering(*known: ContractDetails) -> Callable[[Contract], list[ContractDetails]]:
    """Answers as TWS looks contracts up: by the fields that are given."""

    def fits(row: ContractDetails, query: Contract) -> bool:
        contract = row.contract
        assert contract is not None
        if query.conId:
            return contract.conId == query.conId
        month = query.lastTradeDateOrContractMonth
        asked = [
            (query.symbol, contract.symbol),
            (query.secType, contract.secType),
            (query.currency, contract.currency),
            (query.localSymbol, contract.localSymbol),
            (query.exchange, contract.exchange),
            (query.right, contract.right),
            (query.multiplier, contract.multiplier),
        ]
        if query.strike and query.strike != contract.strike:
            return False
        if month and month not in (contract.lastTradeDateOrContractMonth, row.contractMonth):
            return False
        return all(not want or want == has for want, has in asked)

    return lambda query: [row for row in known if fits(row, query)]
