"""What ib_async's decoder calls, by message: handed to who asked, to who listens to a stream, or to the listener.

The names and arguments of the methods are ib_async's.
"""

from __future__ import annotations

from typing import Any

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData, CommissionReport, Execution
from ib_async.order import Order, OrderState

from vnpy_brokerkit.clock import Clock

from .events import CompletedOrder, Listener, OrderStatus, Stream
from .texts import utc_text


class Handlers:
    """The half of the wire that hears. What is asked and how an answer ends is the other half's, ``Wire``."""

    client: Any
    _clock: Clock
    _listener: Listener
    _streams: dict[int, Stream]

    def _row(self, key: int | str, row: Any) -> None:
        raise NotImplementedError  # the other half has it: Wire

    def _done(self, key: int | str) -> None:
        raise NotImplementedError  # the other half has it: Wire

    def _is_pending(self, key: int | str) -> bool:
        raise NotImplementedError  # the other half has it: Wire

    def _skip_ids(self, order_id: int) -> None:
        raise NotImplementedError  # the other half has it: Wire

    # ------------------------------------------------------------------ decoding that ib_async gets wrong

    def _decode_execution(self, fields: list[str]) -> None:
        """An execution must never be lost to a zone name that Python does not know (section 18)."""
        fields = list(fields)
        fields[15] = utc_text(fields[15], self._clock.now())
        self.client.decoder.execDetails(fields)

    def _decode_price(self, fields: list[str]) -> None:
        _id, _version, req_id, kind, price, size, _mask = fields
        stream = self._streams.get(int(req_id))
        if stream:
            stream.on_price(int(kind), float(price or 0), float(size or 0))

    def currentTime(self, seconds: int) -> None:
        self._row("currentTime", seconds)
        self._done("currentTime")

    # ------------------------------------------------------------------ contracts

    def contractDetails(self, req_id: int, details: ContractDetails) -> None:
        self._row(req_id, details)

    bondContractDetails = contractDetails

    def contractDetailsEnd(self, req_id: int) -> None:
        self._done(req_id)

    def symbolSamples(self, req_id: int, samples: list[Any]) -> None:
        for sample in samples:
            self._row(req_id, sample)
        self._done(req_id)

    def marketRule(self, rule_id: int, increments: list[Any]) -> None:
        key = f"marketRule:{rule_id}"
        for increment in increments:
            self._row(key, increment)
        self._done(key)

    # ------------------------------------------------------------------ market data

    def tickSize(self, req_id: int, kind: int, size: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_size(kind, size)

    def tickString(self, req_id: int, kind: int, value: str) -> None:
        if stream := self._streams.get(req_id):
            stream.on_text(kind, value)

    def tickGeneric(self, req_id: int, kind: int, value: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_number(kind, value)

    def marketDataType(self, req_id: int, kind: int) -> None:
        if stream := self._streams.get(req_id):
            stream.on_data_type(kind)

    def tickReqParams(self, req_id: int, min_tick: float, bbo_exchange: str, permissions: int) -> None:
        """Nothing in it that the contract details do not say better."""

    def tickSnapshotEnd(self, req_id: int) -> None:
        if stream := self._streams.get(req_id):
            stream.on_snapshot_end()

    def tickOptionComputation(self, req_id: int, *values: Any) -> None:
        """Greeks are not shown by vn.py's tick."""

    def updateMktDepth(self, req_id: int, position: int, operation: int, side: int, price: float, size: float) -> None:
        if stream := self._streams.get(req_id):
            stream.on_depth(position, operation, side, price, size)

    def updateMktDepthL2(
        self,
        req_id: int,
        position: int,
        market_maker: str,
        operation: int,
        side: int,
        price: float,
        size: float,
        is_smart: bool = False,
    ) -> None:
        if stream := self._streams.get(req_id):
            stream.on_depth(position, operation, side, price, size)

    def historicalData(self, req_id: int, bar: BarData) -> None:
        self._row(req_id, bar)

    def historicalDataEnd(self, req_id: int, start: str, end: str) -> None:
        self._done(req_id)

    def headTimestamp(self, req_id: int, text: str) -> None:
        self._row(req_id, text)
        self._done(req_id)

    # ------------------------------------------------------------------ orders and executions

    def openOrder(self, order_id: int, contract: Contract, order: Order, state: OrderState) -> None:
        self._skip_ids(order_id)
        self._row("openOrders", (contract, order, state))
        self._listener.on_open_order(contract, order, state)

    def openOrderEnd(self) -> None:
        self._done("openOrders")

    def orderStatus(
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        average: float,
        perm_id: int,
        parent_id: int,
        last_price: float,
        client_id: int,
        why_held: str,
        cap_price: float = 0.0,
    ) -> None:
        self._listener.on_order_status(
            OrderStatus(
                order_id, status, filled, remaining, average, perm_id, parent_id, last_price, client_id, why_held
            )
        )

    def completedOrder(self, contract: Contract, order: Order, state: OrderState) -> None:
        self._row("completedOrders", CompletedOrder(contract, order, state))

    def completedOrdersEnd(self) -> None:
        self._done("completedOrders")

    def execDetails(self, req_id: int, contract: Contract, execution: Execution) -> None:
        self._row(req_id, (contract, execution))
        self._listener.on_execution(contract, execution, self._is_pending(req_id))

    def execDetailsEnd(self, req_id: int) -> None:
        self._done(req_id)

    def commissionReport(self, report: CommissionReport) -> None:
        self._listener.on_commission(report)

    def orderBound(self, perm_id: int, client_id: int, order_id: int) -> None:
        self._listener.on_order_bound(perm_id, client_id, order_id)

    # ------------------------------------------------------------------ accounts

    def updateAccountValue(self, key: str, value: str, currency: str, account: str) -> None:
        self._listener.on_account_value(key, value, currency, account)

    def updatePortfolio(self, *values: Any) -> None:
        """Positions come by their own request, which covers all accounts."""

    def updateAccountTime(self, text: str) -> None:
        """The minute of the last account update; ours are stamped on arrival."""

    def accountDownloadEnd(self, account: str) -> None:
        self._done("accountUpdates")

    def accountUpdateMulti(self, req_id: int, account: str, model: str, key: str, value: str, currency: str) -> None:
        self._listener.on_account_value(key, value, currency, account)

    def accountUpdateMultiEnd(self, req_id: int) -> None:
        self._done(req_id)

    def accountSummary(self, req_id: int, account: str, tag: str, value: str, currency: str) -> None:
        self._row(req_id, (account, tag, value, currency))

    def accountSummaryEnd(self, req_id: int) -> None:
        self._done(req_id)

    def position(self, account: str, contract: Contract, volume: float, cost: float) -> None:
        self._row("positions", (account, contract, volume, cost))
        self._listener.on_position(account, contract, volume, cost)

    def positionEnd(self) -> None:
        self._done("positions")

    def positionMulti(
        self, req_id: int, account: str, model: str, contract: Contract, volume: float, cost: float
    ) -> None:
        self._listener.on_position(account, contract, volume, cost)

    def positionMultiEnd(self, req_id: int) -> None:
        self._done(req_id)
