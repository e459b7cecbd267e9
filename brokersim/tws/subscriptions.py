"""Standing data requests: who asked for what under which number, and whether they may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from brokersim.tws.client import Client
from brokersim.tws.contracts import SEC_TYPES, ContractQuery, Listed
from brokersim.tws.hub import Hub
from brokersim.tws.switches import Right

HONG_KONG = frozenset({"SEHK", "HKFE", "SEHKNTL", "SEHKSZSE"})
NO_SECURITY = "No security definition has been found for the request"


@dataclass(eq=False)
class Subscription:
    """One standing request of one client."""

    client: Client
    request_id: int
    listed: Listed


S = TypeVar("S", bound=Subscription)


class Subscriptions(Generic[S]):
    """Standing requests by client and number, and by instrument."""

    def __init__(self) -> None:
        self._by_request: dict[tuple[Client, int], S] = {}
        self._by_vt: dict[str, list[S]] = {}

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._by_request.values()))

    def add(self, one: S) -> None:
        self._by_request[one.client, one.request_id] = one
        self._by_vt.setdefault(one.listed.vt_symbol, []).append(one)

    def get(self, client: Client, request_id: int) -> S | None:
        return self._by_request.get((client, request_id))

    def of(self, vt_symbol: str) -> list[S]:
        """Everybody who asked for this instrument."""
        return list(self._by_vt.get(vt_symbol, ()))

    def count(self, client: Client) -> int:
        """How many requests of this client stand."""
        return sum(1 for owner, _ in self._by_request if owner is client)

    def remove(self, client: Client, request_id: int) -> S | None:
        """End one; None when there is none."""
        one = self._by_request.pop((client, request_id), None)
        if one is not None:
            self._by_vt[one.listed.vt_symbol].remove(one)
        return one

    def forget(self, client: Client) -> None:
        """End all of a client."""
        for owner, request_id in list(self._by_request):
            if owner is client:
                self.remove(owner, request_id)

    def clear(self) -> None:
        """End all."""
        self._by_request.clear()
        self._by_vt.clear()


def data_right(hub: Hub, listed: Listed) -> Right:
    """What this login may see of a contract's market data."""
    venue = listed.instrument.exchange if listed.exchange not in HONG_KONG else listed.exchange
    return hub.switches.hk_market_data if venue in HONG_KONG else hub.switches.us_market_data


def find_contract(hub: Hub, client: Client, request_id: int, query: ContractQuery) -> Listed | None:
    """The one contract of a data request; None when the client has been told why there is none."""
    if query.sec_type and query.sec_type not in SEC_TYPES:
        client.error(request_id, 321, "Error validating request.-'bW' : cause - Please enter a valid security type")
        return None
    if not query.exchange:
        client.error(request_id, 321, "Error validating request.-'bW' : cause - Please enter exchange")
        return None
    found = hub.contracts.resolve(query)
    if len(found) == 1:
        return found[0]
    ambiguous = "The contract description specified for {} is ambiguous."
    client.error(request_id, 200, ambiguous.format(found[0].symbol) if found else NO_SECURITY)
    return None


def data_name(listed: Listed) -> str:
    """How TWS names data that a login does not have: symbol, exchange, class."""
    return f"{listed.symbol} {listed.primary_exchange or listed.exchange}.{listed.trading_class}/TOP/ALL"
