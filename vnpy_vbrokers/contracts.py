"""Instruments at VBrokers: codes, lots, ticks, names; asked for in batches, kept over restarts.

There is no contract list and no search (reference "vbrokers-openapi", section 5): an instrument is learned from its
quote. Which ``dataType`` it is must be guessed from a short list (section 4.2) and is remembered once it answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from vnpy.trader.constant import Exchange
from vnpy.trader.object import ContractData

from vnpy_brokerkit.aliases import Aliases, respelled
from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.contract_cache import ContractCache
from vnpy_brokerkit.errors import BrokerError, InvalidRequest, PermissionDenied, Rejected
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.pacing import in_slices
from vnpy_brokerkit.symbols import SymbolError
from vnpy_brokerkit.trading_hours import Region, segment

from .instruments import DATA_TYPES, DATATYPE2PRODUCT, US_OPTION, Instrument, contract_data, tick_of, usual_lot
from .spelling import EXCHANGE2MARKET, SEGMENT2TIME, from_code, is_option, spelled, to_code
from .wire.schema import BasicQotRow, parse_basic_qot

BASIC_QUOTE = "/hq/BasicQot"
SUBSCRIBE = "/hq/Subscribe"
UNSUBSCRIBE = "/hq/Unsubscribe"
TOPIC_QUOTE = 11
QUOTES_PER_REQUEST = 200
WRONG_CODE = frozenset({"", "1016", "2002", "40001", "40002"})
"""What a request may be answered with that names an instrument which does not exist (section 12.1), words alone among
it."""
MOST_REFUSED = 8
"""So many known instruments refused one by one, and none answered: it is the broker that refuses, whatever it says."""


@dataclass
class _Wanted:
    """One instrument that is being looked for, and the data types that are left to try."""

    symbol: str
    exchange: Exchange
    types: list[int] = field(default_factory=list)


Rows = dict[tuple[str, Exchange], BasicQotRow]


class Contracts:
    """All instruments of one gateway. ``on_contract`` gets each contract that is new or has changed."""

    def __init__(
        self,
        *,
        read: Callable[[str, dict[str, Any]], Awaitable[Any]],
        clock: Clock,
        cache: ContractCache,
        gateway_name: str,
        on_contract: Callable[[ContractData], None],
        log: Callable[[str], None],
    ) -> None:
        self._read = read
        self._clock = clock
        self._cache = cache
        self._gateway_name = gateway_name
        self._on_contract = on_contract
        self._log = log
        self._known: dict[tuple[str, Exchange], Instrument] = {}
        self._told: dict[str, ContractData] = {}
        self._names: dict[tuple[str, Exchange], str] = {}
        self._aliases = Aliases(spelled, log)

    # ------------------------------------------------------------------ what is known

    def get(self, symbol: str, exchange: Exchange) -> Instrument | None:
        """Return an instrument that was confirmed by the broker since the connect, or ``None``."""
        return self._known.get((symbol, exchange))

    def aliases(self, instrument: Instrument) -> list[tuple[str, Exchange]]:
        """The other spellings of an instrument in the user's settings."""
        return self._aliases.of((instrument.symbol, instrument.exchange))

    async def load_cache(self) -> int:
        """Push the contracts seen before, so that RPC clients know them; return how many."""
        self._aliases.renew()
        contracts = self._cache.load()
        if self._cache.problem:
            self._log(self._cache.problem)
        async for contract in in_slices(contracts, self._clock):
            self._told[contract.vt_symbol] = copy(contract)
            if contract.name != contract.symbol:
                self._names[contract.symbol, contract.exchange] = contract.name
            self._on_contract(contract)
            self._tell_aliases(contract)
        return len(contracts)

    def follow_price(self, symbol: str, exchange: Exchange, price: Decimal) -> None:
        """A pushed price may lie in another tick band than the one that the contract was made in."""
        known = self._known.get((symbol, exchange))
        if known is None:
            return
        tick = known.tick_at(price, self._clock.now().date())
        if tick != known.tick:
            self._settle(replace(known, tick=tick, priced=price))

    def learn_name(self, symbol: str, exchange: Exchange, name: str) -> None:
        """Keep a name that came with a holding or an order: quotes carry none (section 6.1)."""
        if not name or self._names.get((symbol, exchange)) == name:
            return
        self._names[symbol, exchange] = name
        known = self._known.get((symbol, exchange))
        if known:
            self._settle(replace(known, name=name))

    def save(self) -> None:
        """Write the cache; a line where the disk refuses."""
        if not self._cache.save() and self._cache.problem:
            self._log(self._cache.problem)

    # ------------------------------------------------------------------ asking the broker

    async def ensure(self, wanted: Iterable[tuple[str, Exchange]]) -> Rows:
        """Learn the instruments that are not known yet; return the quotes that came with them.

        Who is not among :meth:`get` afterwards does not exist for the broker. Raises :class:`BrokerError` where the
        broker could not be asked, or refused everything in words alone, which need not be about the instruments.
        """
        wanted = list(dict.fromkeys(wanted))
        if self._aliases.renew():
            for contract in list(self._told.values()):
                self._tell_aliases(contract)
        keys = [key for key in wanted if key not in self._known and key[1] in EXCHANGE2MARKET]
        rows, refusal = await self._learn(keys, subscribe=False)
        unseen = [key for key in keys if key not in self._known]
        if unseen:
            # Whether a quote may be pulled without a subscription is not settled (section 6): try with one.
            more, again = await self._learn(unseen, subscribe=True)
            rows.update(more)
            refusal = refusal and again
        if rows:
            self.save()
        if refusal and not refusal.code and not any(key in self._known for key in wanted):
            raise refusal
        return rows

    async def _learn(self, keys: list[tuple[str, Exchange]], *, subscribe: bool) -> tuple[Rows, BrokerError | None]:
        """Ask for instruments under one data type after the other; return how the last was refused, if it was."""
        rows: Rows = {}
        refusal: BrokerError | None = None
        missing = [_Wanted(*key, self._types_to_try(*key)) for key in keys]
        while missing:
            asked = [(w.symbol, w.exchange, w.types.pop(0)) for w in missing]
            if subscribe:
                await self._subscription(SUBSCRIBE, asked)
            found, denied, refusal = await self._ask_batch(asked)
            for key, (row, data_type) in found.items():
                rows[key] = row
                self._settle(self._instrument(*key, data_type, row))
            for symbol, exchange in denied:
                self._settle(self._unquoted(symbol, exchange))
            if subscribe:
                await self._subscription(UNSUBSCRIBE, [item for item in asked if item[:2] not in self._known])
            missing = [w for w in missing if (w.symbol, w.exchange) not in self._known and w.types]
        return rows, refusal

    async def _subscription(self, route: str, asked: list[tuple[str, Exchange, int]]) -> None:
        securities = [
            {"dataType": data_type, "code": to_code(symbol, exchange)} for symbol, exchange, data_type in asked
        ]
        if not securities:
            return
        with contextlib.suppress(InvalidRequest, PermissionDenied, Rejected):  # a code that is none: no row will come
            await self._read(route, {"topicId": TOPIC_QUOTE, "security": securities})

    async def quotes(self, wanted: Iterable[tuple[str, Exchange]]) -> Rows:
        """Ask for the quotes of known instruments, in batches of 200; rows that do not come are left out.

        Raises :class:`BrokerError` where the broker could not be asked, or refused all of them.
        """
        asked = [
            (known.symbol, known.exchange, known.data_type)
            for known in (self._known.get(key) for key in wanted)
            if known and known.quoted
        ]
        found, denied, refusal = await self._ask_batch(asked, most_refused=MOST_REFUSED)
        if refusal and not found and not denied:
            raise refusal
        for key in denied:
            self._known[key] = replace(self._known[key], quoted=False)  # one line, until a person connects again
        rows: Rows = {}
        for key, (row, data_type) in found.items():
            rows[key] = row
            if row.last_price:
                # Prices wander into other tick bands.
                self._settle(self._instrument(*key, data_type, row))
        return rows

    async def _ask_batch(
        self, asked: list[tuple[str, Exchange, int]], *, most_refused: int | None = None
    ) -> tuple[dict[tuple[str, Exchange], tuple[BasicQotRow, int]], list[tuple[str, Exchange]], BrokerError | None]:
        """One dataType a request is safest (section 6.1), and US rows need the session asked for (section 4.3).

        Returns what came, what is denied, and how an instrument was refused by itself, if one was.
        """
        groups: dict[tuple[int, Region], list[tuple[str, Exchange]]] = {}
        for symbol, exchange, data_type in asked:
            groups.setdefault((data_type, EXCHANGE2MARKET[exchange].region), []).append((symbol, exchange))
        found: dict[tuple[str, Exchange], tuple[BasicQotRow, int]] = {}
        denied: list[tuple[str, Exchange]] = []
        refusal: BrokerError | None = None
        refused = 0
        for (data_type, region), keys in groups.items():
            batches = [keys[start : start + QUOTES_PER_REQUEST] for start in range(0, len(keys), QUOTES_PER_REQUEST)]
            while batches:
                batch = {to_code(*key): key for key in batches.pop()}
                try:
                    rows = await self._ask(data_type, region, list(batch))
                except PermissionDenied as error:
                    self._log(_("没有行情权限（{}）：{}；请在APP中开通").format(error.text, _("、").join(batch)))
                    denied += batch.values()
                    continue
                except (InvalidRequest, Rejected) as error:
                    if error.code not in WRONG_CODE:
                        raise
                    # Whether one code that is none costs the whole answer is not documented: the others must not pay.
                    asked_now, half = list(batch.values()), len(batch) // 2
                    if half:
                        batches += [asked_now[:half], asked_now[half:]]
                        continue
                    refusal, refused = error, refused + 1
                    if refused == most_refused and not found:
                        return found, denied, refusal
                    continue
                for row in rows:
                    key = batch.get(row.security.code) or _key_of(row.security.code, batch)
                    if key:
                        found[key] = (row, data_type)
        return found, denied, refusal

    async def _ask(self, data_type: int, region: Region, codes: list[str]) -> list[BasicQotRow]:
        params: dict[str, Any] = {
            "security": [{"dataType": data_type, "code": code} for code in codes],
            "needDelayFlag": "0",
        }
        if region is Region.US:
            now = SEGMENT2TIME.get(segment(region, self._clock.now()))
            if now is not None:  # closed: without a session the broker shows the last close
                params["mktTmType"] = now
        else:
            params["mktTmType"] = 1
        reply = parse_basic_qot(await self._read(BASIC_QUOTE, params))
        for problem in reply.problems:
            self._log(_("行情数据有误，已跳过：{}").format(problem))
        return list(reply.rows)

    # ------------------------------------------------------------------ making contracts

    def _types_to_try(self, symbol: str, exchange: Exchange) -> list[int]:
        if is_option(symbol, exchange):
            return [US_OPTION]
        types = list(DATA_TYPES[EXCHANGE2MARKET[exchange].region])
        seen = self._cache.hints(f"{symbol}.{exchange.value}").get("data_type", "")
        if seen.isdigit() and int(seen) in DATATYPE2PRODUCT:
            types = [int(seen), *(t for t in types if t != int(seen))]
        return types

    def _instrument(self, symbol: str, exchange: Exchange, data_type: int, row: BasicQotRow) -> Instrument:
        region = EXCHANGE2MARKET[exchange].region
        before = self._known.get((symbol, exchange))
        lot = Decimal(row.lot_size or 0) or (before.lot if before else usual_lot(region))
        price = row.last_price or row.last_close_price
        return Instrument(
            symbol=symbol,
            exchange=exchange,
            data_type=data_type,
            lot=lot,
            tick=tick_of(region, data_type, row.price_spread, price, self._clock.now()),
            name=self._names.get((symbol, exchange), ""),
            priced=price or Decimal(0),
        )

    def _unquoted(self, symbol: str, exchange: Exchange) -> Instrument:
        """No right to quotes does not mean no right to trade: let the broker judge the lot."""
        region = EXCHANGE2MARKET[exchange].region
        data_type = self._types_to_try(symbol, exchange)[0]
        return Instrument(
            symbol=symbol,
            exchange=exchange,
            data_type=data_type,
            lot=usual_lot(region),
            tick=tick_of(region, data_type, None, None, self._clock.now()),
            name=self._names.get((symbol, exchange), ""),
            quoted=False,
        )

    def _settle(self, instrument: Instrument) -> None:
        self._known[instrument.symbol, instrument.exchange] = instrument
        contract = contract_data(instrument, self._gateway_name)
        if self._told.get(contract.vt_symbol) == contract:
            return
        self._told[contract.vt_symbol] = copy(contract)
        self._cache.put(contract, {"data_type": str(instrument.data_type)})
        self._on_contract(contract)
        self._tell_aliases(contract)

    def _tell_aliases(self, contract: ContractData) -> None:
        for alias in self._aliases.of((contract.symbol, contract.exchange)):
            self._on_contract(respelled(contract, alias))


def _key_of(code: str, batch: Mapping[str, tuple[str, Exchange]]) -> tuple[str, Exchange] | None:
    """A reply may spell the code in its own way (``AAPL.US``)."""
    try:
        key = from_code(code)
    except SymbolError:
        return None
    return key if key in batch.values() else None
