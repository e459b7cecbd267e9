"""The simulated brokers as venues of the conformance suite, behind a relay that can cut and silence the line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ib_async.contract import Stock as IbStock
from ib_async.order import LimitOrder
from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, OrderType, Status
from vnpy.trader.utility import TEMP_DIR

import brokersim
from brokersim.net import HOST, Listener
from tests.harness import DEADLINE, SHORT, forget_journals
from tests.ib_harness import ACCOUNT, SHORT_IB
from tests.sim_tws_client import RawClient
from tests.sim_tws_room import Writer
from vnpy_brokerkit.conformance import BrokerOrder, BrokerTrade, Ground, Patience, Truth
from vnpy_ibkr.gateway import IbkrGateway
from vnpy_vbrokers.gateway import VbrokersGateway

T = TypeVar("T")

CHUNK = 65_536
RELAY_PATIENCE_S = 10.0
ENOUGH = 1_000_000
"""Shown on each side where a quote must not be used up."""
TIMING = replace(
    SHORT, request_timeout=0.8, answer_margin=0.2, settle_after=1.2, history_most=4, return_grace=0.2, close_answers=1
)
"""Short, but for the grace of a caller who has not read his order id yet: the test machine may be slow."""
TIMING_IB = replace(SHORT_IB, history_most=4, return_grace=0.2, close_answers=1, orders_poll=0.5)


class TunedVbrokers(VbrokersGateway):
    """The product's gateway with this test's intervals."""

    def __init__(self, event_engine: EventEngine, gateway_name: str) -> None:
        super().__init__(event_engine, gateway_name, timing=TIMING)


class TunedIbkr(IbkrGateway):
    """The product's gateway with this test's intervals."""

    def __init__(self, event_engine: EventEngine, gateway_name: str) -> None:
        super().__init__(event_engine, gateway_name, timing=TIMING_IB)


class Relay:
    """Passes bytes between gateways and a broker's ports; cuts the lines, or holds back everything on them.

    ``delay`` seconds pass on the broker's words: a broker is never nearer than that.
    """

    def __init__(self, *targets: int, delay: float = 0.0) -> None:
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._links: set[asyncio.Task[None]] = set()
        self._listeners = [Listener(0, "relay", _Link(self, target).serve) for target in targets]
        for listener in self._listeners:
            listener.bind()
        self.ports = [listener.port for listener in self._listeners]
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._do(self._open())

    def cut(self) -> None:
        """End all connections, and what is on them is lost; new ones are refused."""
        self._do(self._cut())

    def silence(self) -> None:
        """Hold everything back, in both directions; connections stand, and new ones are taken."""
        self._do(self._silence())

    def heal(self) -> None:
        """Take connections again, and pass on what was held back."""
        self._do(self._open())

    def stop(self) -> None:
        """End everything."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(RELAY_PATIENCE_S)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(RELAY_PATIENCE_S)

    async def _open(self) -> None:
        self._passing.set()
        for listener in self._listeners:
            await listener.open()

    async def _silence(self) -> None:
        self._passing.clear()

    async def _cut(self) -> None:
        for listener in self._listeners:
            listener.shut()
            listener.drop()
        await self._end_links()
        self._passing.set()

    async def _stop(self) -> None:
        await self._end_links()
        for listener in self._listeners:
            await listener.stop()

    async def _end_links(self) -> None:
        for task in list(self._links):
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def link(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One gateway's connection, until either side ends it."""
        await self._passing.wait()
        there, back = await asyncio.open_connection(HOST, target)
        try:
            pumps = [self._start(self._pump(reader, back, 0.0)), self._start(self._pump(there, writer, self._delay))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            back.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        return task

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(delay)
            await self._passing.wait()
            writer.write(data)
            await writer.drain()


class _Link:
    """What a listener calls for each connection to one target."""

    def __init__(self, relay: Relay, target: int) -> None:
        self._relay = relay
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._relay.link(self._target, reader, writer)
        except OSError:
            writer.transport.abort()  # nobody at the target, or one of the two has gone


class SimVenue:
    """What both simulated brokers have in common."""

    broker = ""
    place = ""
    ready = "合约信息查询成功"
    delay = 0.0
    grounds: Sequence[Ground] = (
        Ground("IBM.SMART", 99.99, 100.01, 97.0),
        Ground("AAPL.SMART", 199.99, 200.01, 195.0),
    )
    lacks: Mapping[str, str] = {}
    patience = Patience(history=6, deadline=DEADLINE)

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.sim: brokersim.Simulation
        self.relay: Relay
        self._before = 0

    def start(self) -> None:
        forget_journals()
        vbrokers, tws = (self.broker == name for name in ("vbrokers", "tws"))
        self.sim = self._stack.enter_context(brokersim.running(vbrokers=vbrokers, tws=tws))
        self.relay = Relay(*self.targets(), delay=self.delay)
        self._stack.callback(self.relay.stop)
        self.sim.pause()
        for ground in self.grounds:
            self.quote(ground.vt_symbol, ground.bid, ground.ask)

    def targets(self) -> list[int]:
        """The broker's own ports."""
        raise NotImplementedError  # each broker names its own

    def end(self) -> None:
        self._stack.close()

    def plain(self, vt_symbol: str) -> str:
        """An instrument as the simulator calls it."""
        return vt_symbol

    def spelt(self, vt_symbol: str) -> str:
        """An instrument of the simulator as the gateway calls it."""
        return vt_symbol

    def quote(self, vt_symbol: str, bid: float, ask: float, size: float | None = None) -> None:
        shown = ENOUGH if size is None else size
        last = round((bid + ask) / 2, 2)
        self.sim.quote(
            self.plain(vt_symbol), last=last, bid=round(bid, 6), ask=round(ask, 6), bid_size=shown, ask_size=shown
        )

    def flow(self) -> None:
        self.sim.resume()

    def order_elsewhere(self, vt_symbol: str, direction: Direction, volume: float, price: float) -> None:
        self.sim.order(self.plain(vt_symbol), direction.name, int(volume), price, broker=self.broker)

    def cut(self) -> None:
        self.relay.cut()

    def silence(self) -> None:
        self.relay.silence()

    def heal(self) -> None:
        self.relay.heal()

    def truth(self) -> Truth:
        state = self.sim.state()[self.broker]
        return Truth(
            [
                BrokerOrder(
                    self.spelt(row["vt_symbol"]),
                    Direction[row["direction"]],
                    OrderType[row["type"]],
                    float(row["price"]),
                    float(row["volume"]),
                    float(row["traded"]),
                    Status[row["status"]],
                )
                for row in state["orders"]
            ],
            [
                BrokerTrade(
                    self.spelt(row["vt_symbol"]), Direction[row["direction"]], float(row["price"]), float(row["volume"])
                )
                for row in state["trades"]
            ],
            {self.spelt(row["vt_symbol"]): float(row["volume"]) for row in state["positions"]},
        )

    def order_requests(self) -> int:
        return self.sim.wire()[self.broker].get(self.place, 0) - self._before


class VbrokersVenue(SimVenue):
    """The simulated OpenAPI Gateway."""

    broker = "vbrokers"
    place = "/trade/TradeEntrust"

    def targets(self) -> list[int]:
        http, push = urlsplit(self.sim.vbrokers_url or "").port, (self.sim.push_address or ":0").rpartition(":")[2]
        return [http or 0, int(push)]

    def settings(self, seat: int = 0) -> dict[str, Any]:
        http, push = self.relay.ports
        return {
            "环境": "测试环境",
            "地址": HOST,
            "端口": http,
            "推送端口": push,
            "交易密码": "123456",
            "市场": "港股+美股",
        }

    def wrong_settings(self) -> list[dict[str, Any]]:
        right = self.settings()
        return [{**right, "环境": ""}, {**right, "地址": "no such host"}, {**right, "端口": "x"}]

    def refuse_next(self) -> str:
        text = "the venue refuses this one"
        when = {"message": self.place}
        self.sim.faults([{"broker": "vbrokers", "do": "error", "code": "3002", "text": text, "when": when}])
        return text


class TwsVenue(SimVenue):
    """The simulated TWS."""

    broker = "tws"
    place = "placeOrder"

    def targets(self) -> list[int]:
        return [int((self.sim.tws_address or ":0").rpartition(":")[2])]

    def settings(self, seat: int = 0) -> dict[str, Any]:
        [port] = self.relay.ports
        return {"环境": "模拟盘", "TWS地址": HOST, "TWS端口": port, "客户号": 1 + seat, "交易账户": ACCOUNT}

    def wrong_settings(self) -> list[dict[str, Any]]:
        right = self.settings()
        return [{**right, "环境": ""}, {**right, "TWS地址": "no such host"}, {**right, "TWS端口": "x"}]

    def refuse_next(self) -> str:
        text = "the venue refuses this one"
        self.sim.faults([{"broker": "tws", "do": "error", "code": 201, "text": text, "when": {"message": self.place}}])
        return text


class PeerTwsVenue(TwsVenue):
    """The simulated TWS for vn.py's own IbGateway, with its names of settings and instruments.

    The line is as slow as a real one: this gateway notes an order after it has sent it, and would not know its answer.
    """

    ready = "2158"
    delay = 0.05
    grounds = tuple(replace(one, vt_symbol=one.vt_symbol.replace(".", "-USD-STK.")) for one in SimVenue.grounds)
    patience = Patience(history=6, deadline=8)

    def start(self) -> None:
        for file in TEMP_DIR.glob("ib_contract_data*"):
            file.unlink()
        super().start()

    def plain(self, vt_symbol: str) -> str:
        return vt_symbol.replace("-USD-STK.", ".")

    def spelt(self, vt_symbol: str) -> str:
        return vt_symbol.replace(".", "-USD-STK.")

    def settings(self, seat: int = 0) -> dict[str, Any]:
        right = super().settings(seat)
        return {name: right[name] for name in ("TWS地址", "TWS端口", "客户号", "交易账户")}

    def wrong_settings(self) -> list[dict[str, Any]]:
        right = self.settings()
        return [{**right, "TWS地址": "no such host"}, {**right, "TWS端口": 1}]

    def order_elsewhere(self, vt_symbol: str, direction: Direction, volume: float, price: float) -> None:
        """Before the connection another program uses the same client number, and TWS is set to show the open orders of
        a number when it comes back; later the order comes from TWS itself."""
        self.sim.switches(**{"tws.download_open_orders": True})
        symbol = self.plain(vt_symbol).partition(".")[0]
        order = LimitOrder(
            "BUY" if direction is Direction.LONG else "SELL", volume, price, tif="DAY", account=ACCOUNT, orderRef="mine"
        )
        with RawClient(self.sim.tws_address or "") as client:
            try:
                messages = client.start(1)
            except EOFError:  # the gateway has the number
                super().order_elsewhere(vt_symbol, direction, volume, price)
                return
            writer = Writer()
            order_id = next(int(fields[2]) for fields in messages if fields[0] == "9")
            writer.placeOrder(order_id, IbStock(symbol, "SMART", "USD"), order)  # type: ignore[no-untyped-call]  # ib_async does not type it
            client.send(*writer.written.pop())
            client.ping()
        self._before += 1
