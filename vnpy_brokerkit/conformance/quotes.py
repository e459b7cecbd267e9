"""Checks of contracts and ticks."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from vnpy.trader.constant import Exchange
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK
from vnpy.trader.object import ContractData, SubscribeRequest, TickData

from .check import Checks
from .plain import odd_values
from .stage import Stage, same
from .venue import FLOW, QUOTE
from .verdict import must

CHECKS = Checks()
ENOUGH_TICKS = 10
STEPS = 8
"""Changes of the quote that two subscriptions are compared by."""
UNKNOWN = "NOSUCHTHING"
LEVELS = range(1, 6)


@CHECKS.add("a subscription brings the contract first, then ticks")
def contract_comes_before_ticks(stage: Stage) -> None:
    stage.connect()
    for ground in (stage.ground, stage.other):
        stage.subscribe(ground)
        stage.wait(partial(stage.ticks, ground.vt_symbol), f"a tick of {ground.vt_symbol}")
        kinds = [push.kind for push in stage.seen.pushes() if getattr(push.data, "vt_symbol", "") == ground.vt_symbol]
        must(EVENT_CONTRACT in kinds, f"ticks of {ground.vt_symbol} and no contract")
        must(kinds.index(EVENT_CONTRACT) < kinds.index(EVENT_TICK), f"a tick of {ground.vt_symbol} before its contract")


@CHECKS.add("contracts have a name, a size, a tick and a least volume that the apps can divide by, all plain numbers")
def contracts_are_whole(stage: Stage) -> None:
    stage.connect()
    for ground in (stage.ground, stage.other):
        stage.market(ground)
        contract = _contract(stage, ground.vt_symbol)
        odd = odd_values(contract)
        for name in ("size", "pricetick", "min_volume"):
            odd += [f"{name} is {getattr(contract, name)!r}"] if not getattr(contract, name) > 0 else []
        odd += ["no name"] if not contract.name else []
        must(not odd, f"contract of {ground.vt_symbol}: {'; '.join(odd)}")


@CHECKS.add("ticks show the quote as it changes", QUOTE)
def ticks_follow_the_quote(stage: Stage) -> None:
    stage.connect()
    stage.market(stage.ground)
    for bid, ask in _walk(stage):
        stage.venue.quote(stage.ground.vt_symbol, bid, ask)
        stage.wait_quote(stage.ground, bid, ask)


@CHECKS.add("subscribing again brings no tick twice", QUOTE)
def subscribing_twice_is_one_subscription(stage: Stage) -> None:
    stage.connect()
    once, often = stage.other, stage.ground
    for ground in (once, often, often, often):
        stage.market(ground)
    before = {ground: len(stage.ticks(ground.vt_symbol)) for ground in (once, often)}
    step = _step(stage)
    for number in range(1, STEPS + 1):
        for ground in (once, often):
            stage.venue.quote(ground.vt_symbol, ground.bid - number * step, ground.ask - number * step)
        for ground in (once, often):
            stage.wait_quote(ground, ground.bid - number * step, ground.ask - number * step)
    single, several = (len(stage.ticks(ground.vt_symbol)) - before[ground] for ground in (once, often))
    must(several <= 1.5 * single + 2, f"{several} ticks of what was subscribed three times, {single} of the other")


@CHECKS.add("ticks hold plain numbers only, aware times, and a book in order that is not crossed", FLOW)
def ticks_are_plain(stage: Stage) -> None:
    for tick in _flow(stage):
        odd = odd_values(tick) + _disorder(tick)
        must(not odd, f"tick of {tick.vt_symbol}: {'; '.join(odd)}")


@CHECKS.add("per instrument, a tick's time and the day's volume never go back", FLOW)
def tick_time_and_volume_go_forward(stage: Stage) -> None:
    ticks = _flow(stage)
    for ground in stage.venue.grounds:
        for earlier, later in pairwise(tick for tick in ticks if tick.vt_symbol == ground.vt_symbol):
            must(earlier.datetime <= later.datetime, f"a tick of {later.datetime} after one of {earlier.datetime}")
            must(earlier.volume <= later.volume, f"the day's volume went from {earlier.volume} to {later.volume}")


@CHECKS.add("subscribing what does not exist raises nothing, costs no connection and no other subscription")
def unknown_symbols_are_harmless(stage: Stage) -> None:
    stage.connect()
    known = stage.ground.vt_symbol.rpartition(".")[0]
    for symbol in (UNKNOWN, "", " ", "A B", "名字", known + "-X", "-", "." * 3):
        for exchange in (Exchange.SMART, Exchange.CFFEX):
            request = SubscribeRequest(symbol, exchange)
            stage.call(f"subscribe({symbol!r})", partial(stage.main.subscribe, request, stage.name))
    stage.market(stage.ground)
    must(stage.count_ready() == 1, "the connection was lost and made again")
    strange = {contract.vt_symbol for contract in stage.seen.of(EVENT_CONTRACT) if UNKNOWN in contract.symbol}
    must(not strange, f"contracts for what does not exist: {sorted(strange)}")


def _contract(stage: Stage, vt_symbol: str) -> ContractData:
    contract: ContractData = stage.wait(lambda: stage.main.get_contract(vt_symbol), f"a contract of {vt_symbol}")
    return contract


def _step(stage: Stage) -> float:
    """A step of the quote that is on everybody's price grid."""
    return 10 * round(stage.ground.ask - stage.ground.bid, 6)


def _walk(stage: Stage) -> list[tuple[float, float]]:
    ground, step = stage.ground, _step(stage)
    return [(round(ground.bid - n * step, 6), round(ground.ask - n * step, 6)) for n in (1, 2, 1, 3, 0)]


def _flow(stage: Stage) -> list[TickData]:
    """Ticks of a moving market."""
    stage.connect()
    for ground in stage.venue.grounds[:2]:
        stage.market(ground)
    stage.venue.flow()
    return stage.wait(lambda: t if len(t := stage.ticks()) >= ENOUGH_TICKS else None, f"{ENOUGH_TICKS} ticks")


def _disorder(tick: TickData) -> list[str]:
    """What is wrong with the levels of the book; those of price 0 are not there."""
    bids = [getattr(tick, f"bid_price_{level}") for level in LEVELS]
    asks = [getattr(tick, f"ask_price_{level}") for level in LEVELS]
    wrong = []
    for side, prices, falls in (("bids", bids, True), ("asks", asks, False)):
        shown = [price for price in prices if price]
        if shown != sorted(shown, reverse=falls) or prices[: len(shown)] != shown:
            wrong.append(f"{side} out of order: {prices}")
    if bids[0] and asks[0] and bids[0] > asks[0] and not same(bids[0], asks[0]):
        wrong.append(f"crossed: {bids[0]} over {asks[0]}")
    sizes = [getattr(tick, f"{side}_volume_{level}") for side in ("bid", "ask") for level in LEVELS]
    wrong += [f"negative sizes {sizes}"] if min(sizes) < 0 else []
    return wrong
