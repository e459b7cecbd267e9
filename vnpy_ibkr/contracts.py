"""Instruments at IBKR: asked for by name or conId, told apart, kept over restarts.

The conId is what identifies a contract (reference "tws-api", section 14.1). It is in the cache beside each contract, so
that a position or an execution is recognised at once, whatever venue its row names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from copy import copy
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ib_async.contract import Contract, ContractDetails
from vnpy.trader.constant import Exchange
from vnpy.trader.object import ContractData

from vnpy_brokerkit.aliases import Aliases, respelled
from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import BrokerError, InvalidRequest
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import in_slices
from vnpy_brokerkit.trading_hours import Segment, region_of

from .instruments import (
    STOCKS,
    Bands,
    Found,
    Instrument,
    choose,
    contract_data,
    describe,
    exact,
    make_instrument,
    one_per_contract,
)
from .segments import segment_by_hours
from .spelling import Key, spelled, spelling, to_queries, to_query, written_form
from .wire.tws import Wire

__all__ = ["Contracts", "Instrument", "Key", "spelling", "to_query"]

NOT_FOUND = "200"
AT_ONCE = 30
"""Requests under way together: below TWS's 50 messages a second, and answered within their time-outs."""
MISSING_FOR = 60.0
"""Seconds until TWS is asked again for what it did not know: in its nightly reset it knows nothing (section 11)."""
RULE_TIMEOUT = 3.0
CANDIDATES_NAMED = 5


class Contracts:
    """All instruments of one gateway. ``on_contract`` gets each contract that is new or has changed."""

    def __init__(
        self,
        *,
        wire: Callable[[], Wire],
        clock: Clock,
        cache: ContractCache,
        gateway_name: str,
        on_contract: Callable[[ContractData], None],
        log: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self._clock = clock
        self._cache = cache
        self._gateway_name = gateway_name
        self._on_contract = on_contract
        self._log = log
        self._known: dict[Key, Instrument] = {}
        self._keys: dict[int, Key] = {}
        """conId -> canonical key, also of contracts of earlier sessions."""
        self._aliases: dict[Key, Key] = {}
        self._written = Aliases(spelled, log)
        self._respelled: dict[Key, list[Key]] = {}
        self._missing: dict[Key, float] = {}
        self._told: dict[str, ContractData] = {}
        self._rules: dict[int, Bands] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    # ------------------------------------------------------------------ what is known

    def get(self, symbol: str, exchange: Exchange) -> Instrument | None:
        """Return an instrument that TWS confirmed in this session, or ``None``; by any spelling that was asked for."""
        return self._known.get(self.key_of(symbol, exchange))

    def by_con_id(self, con_id: int) -> Instrument | None:
        """The same by conId."""
        key = self._keys.get(con_id)
        return self._known.get(key) if key else None

    def key_of(self, symbol: str, exchange: Exchange) -> Key:
        """The canonical key of a spelling: a conId, once it was looked up, is the instrument that it stands for."""
        key = symbol, exchange
        if key in self._aliases:
            return self._aliases[key]
        if symbol.isdecimal() and key not in self._known:
            query = to_query(symbol, exchange)
            if query is not None and query.conId:
                return self._keys.get(query.conId, key)
        return key

    def canonical_of(self, contract: Contract | ContractDetails) -> Key:
        """The key of what positions, orders and executions bring, by its conId where that was seen before.

        Rows name the executing venue or none (section 6.5). Where neither the conId nor the row tells, as with a new
        future, the conId itself is the key: call :meth:`identify` first, and it will not be.
        """
        if isinstance(contract, ContractDetails):
            assert contract.contract is not None
            contract = contract.contract
        key = self._keys.get(contract.conId) or written_form(contract)
        return key or (str(contract.conId), Exchange.SMART)

    def is_missing(self, symbol: str, exchange: Exchange) -> bool:
        """Tell whether TWS was asked for an instrument and has none, or several that it cannot tell apart."""
        return (symbol, exchange) in self._missing

    def seen_before(self, symbol: str, exchange: Exchange) -> bool:
        """Tell whether an instrument existed in an earlier session: if TWS denies it, it is TWS that is not ready."""
        return bool(self._cache.hints(f"{symbol}.{exchange.value}"))

    def aliases(self, instrument: Instrument) -> list[Key]:
        """The other spellings of an instrument in the user's settings."""
        return self._spellings(instrument.key)

    def _spellings(self, key: Key) -> list[Key]:
        found = self._respelled.get(key)
        if found is None:
            known = self._known.get(key)
            # A conId is an alias, too, also one that was never asked for: its instrument was known by name before.
            con_id = str(known.con_id if known else self._hinted_id(key))
            asked = {(con_id, key[1]): None, (con_id, Exchange.SMART): None}
            asked.update((other, None) for other, home in self._aliases.items() if home == key)
            found = self._respelled[key] = self._written.of(key, *asked)
        return found

    def _tell_aliases(self, contract: ContractData) -> None:
        for alias in self._spellings((contract.symbol, contract.exchange)):
            self._on_contract(respelled(contract, alias))

    async def load_cache(self) -> int:
        """Push the contracts seen before, so that RPC clients know them; return how many."""
        self._written.renew()
        contracts = self._cache.load()
        if self._cache.problem:
            self._log(self._cache.problem)
        async for contract in in_slices(contracts, self._clock):
            self._told[contract.vt_symbol] = copy(contract)
            con_id = self._hinted_id((contract.symbol, contract.exchange))
            if con_id:
                self._keys.setdefault(con_id, (contract.symbol, contract.exchange))
            self._on_contract(contract)
            self._tell_aliases(contract)
        return len(contracts)

    def save(self) -> None:
        """Write the cache; a line where the disk refuses."""
        if not self._cache.save() and self._cache.problem:
            self._log(self._cache.problem)

    def segment(self, instrument: Instrument, at: datetime) -> Segment:
        """The segment of a moment by the instrument's own hours, else by the calendar (design, section 5)."""
        region = region_of(instrument.exchange) if instrument.contract.secType in STOCKS else None
        return segment_by_hours(instrument.liquid_hours, instrument.trading_hours, at, instrument.zone, region)

    # ------------------------------------------------------------------ asking TWS

    async def ensure(self, wanted: Iterable[Key]) -> None:
        """Learn the instruments that are not known yet.

        Who is not among :meth:`get` afterwards does not exist for TWS (:meth:`is_missing`). Raises
        :class:`BrokerError` where it could not be asked; what could be asked is learned all the same.
        """
        if self._written.renew():
            self._respelled.clear()
            for contract in list(self._told.values()):
                self._tell_aliases(contract)
        now = self._clock.monotonic()
        keys = [
            key
            for key in dict.fromkeys(wanted)
            # What an earlier session knew is asked for again at once: it is TWS that was not ready (a nightly reset).
            if self.get(*key) is None
            and (self.seen_before(*key) or now - self._missing.get(key, -MISSING_FOR) >= MISSING_FOR)
        ]
        await self._all(self._learn(key) for key in keys)

    async def identify(self, contracts: Iterable[Contract]) -> None:
        """Learn, by conId, what rows of positions, orders and executions brought. Raises :class:`BrokerError`.

        Also what :meth:`canonical_of` would name by its fields: a dollar stock may be listed abroad.
        """
        ids = {row.conId for row in contracts if row.conId not in self._keys}
        await self.ensure((str(con_id), Exchange.SMART) for con_id in sorted(ids) if con_id)

    async def renew(self) -> None:
        """Ask again for instruments whose hours do not reach the present day: texts end after some days.

        Raises :class:`BrokerError`; what is known stays known.
        """
        now = self._clock.now()
        stale = [known for known in self._known.values() if known.is_stale(now)]
        await self._all(self._learn(known.key) for known in stale)

    async def _all(self, works: Iterable[Coroutine[Any, Any, None]]) -> None:
        results = await asyncio.gather(*works, return_exceptions=True)
        self.save()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _learn(self, key: Key) -> None:
        async with self._turn:
            con_id = self._hinted_id(key)
            queries = ([Contract(conId=con_id)] if con_id else []) + to_queries(*key)
            for query in queries:
                found = one_per_contract(await self._details(query), query)
                if found:
                    break
            else:
                self._miss(key)
                return
            chosen = choose(found, query)
            if chosen is None:
                self._tell_ambiguous(key, found)
                self._miss(key)
                return
            chosen.bands = await self._market_rule(chosen)
        self._settle(key, chosen)

    def _miss(self, key: Key) -> None:
        if key not in self._known:
            self._missing[key] = self._clock.monotonic()

    async def _details(self, query: Contract) -> list[ContractDetails]:
        about = query.localSymbol or query.symbol or str(query.conId)
        wire = self._wire()
        try:
            return await wire.ask(lambda req_id: wire.client.reqContractDetails(req_id, query), about)
        except InvalidRequest as error:
            if error.code != NOT_FOUND:
                self._log(_("合约查询被拒绝：{}").format(error))
            return []

    async def _market_rule(self, found: Found) -> Bands:
        """The true price steps of the exchange that orders go to (section 14.1); none where TWS does not tell."""
        rules = found.details.marketRuleIds.split(",")
        venues = found.details.validExchanges.split(",")
        by_venue = dict(zip(venues, rules, strict=False))
        text = by_venue.get(found.contract.exchange) or by_venue.get(found.contract.primaryExchange) or rules[0]
        if not text.isdecimal():
            return ()
        rule = int(text)
        if rule not in self._rules:
            wire = self._wire()
            try:
                rows = await wire.ask_plain(f"marketRule:{rule}", lambda: wire.client.reqMarketRule(rule), RULE_TIMEOUT)
            except BrokerError:
                return ()  # minTick is the finest step: it refuses no valid price
            self._rules[rule] = tuple(
                sorted((exact(row.lowEdge), exact(row.increment)) for row in rows if row.increment > 0)
            )
        return self._rules[rule]

    def _hinted_id(self, key: Key) -> int:
        text = self._cache.hints(f"{key[0]}.{key[1].value}").get("con_id", "")
        return int(text) if text.isdecimal() else 0

    def _tell_ambiguous(self, key: Key, found: list[Found]) -> None:
        names = _("、").join(describe(one) for one in found[:CANDIDATES_NAMED])
        self._log(_("合约{}.{}不唯一，候选：{}；请写明到期日或乘数，或直接填conId").format(key[0], key[1].value, names))

    # ------------------------------------------------------------------ making contracts

    def at_price(self, instrument: Instrument, price: Decimal) -> Instrument:
        """Return the instrument as it is at a price; its contract is pushed again where the price step changed."""
        known = self._known.get(instrument.key, instrument)
        if len(known.bands) < 2:
            return known
        step = known.tick_at(price)
        if step != known.tick:
            known = replace(known, tick=step)
            self._known[known.key] = known
            self._tell(known)
        return known

    def _settle(self, asked: Key, found: Found) -> None:
        con_id = found.contract.conId
        key = written_form(found.contract, found.details)
        if key is None or (key in self._known and self._known[key].con_id != con_id):
            key = str(con_id), Exchange.SMART
        before = self._known.get(key)
        instrument = make_instrument(key, found, before.tick if before else self._first_tick(key, found))
        self._known[key] = instrument
        self._keys[con_id] = key
        self._missing.pop(asked, None)
        if asked != key:
            self._aliases[asked] = key
            self._respelled.pop(key, None)
            self._tell_aliases(contract_data(instrument, self._gateway_name))
        self._tell(instrument)

    def _first_tick(self, key: Key, found: Found) -> Decimal:
        """Before there is a price: the step of the last session where it can be one, else the finest."""
        told = self._told.get(f"{key[0]}.{key[1].value}")
        steps = {step for _edge, step in found.bands}
        if told and exact(told.pricetick) in steps:
            return exact(told.pricetick)
        return exact(found.details.minTick) or (min(steps) if steps else Decimal("0.01"))

    def _tell(self, instrument: Instrument) -> None:
        contract = contract_data(instrument, self._gateway_name)
        if self._told.get(contract.vt_symbol) == contract:
            return
        self._told[contract.vt_symbol] = copy(contract)
        self._cache.put(
            contract,
            {
                "con_id": str(instrument.con_id),
                "trading_class": instrument.contract.tradingClass,
                "primary_exchange": instrument.contract.primaryExchange,
            },
        )
        self._on_contract(contract)
        self._tell_aliases(contract)
