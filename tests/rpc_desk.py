"""A server with both gateways beside one simulator, and clients of it, for the tests of the distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from vnpy.event import EventEngine
from vnpy.trader.constant import Direction, Exchange, Offset, OrderType, Status
from vnpy.trader.event import EVENT_TRADE
from vnpy.trader.object import OrderData, OrderRequest, SubscribeRequest, TickData

import brokersim
from brokersim.client import Simulation
from tests import harness
from tests.harness import DEADLINE, Recorder, Rig, forget_journals
from tests.ib_harness import ACCOUNT, IbRig
from vnpy_brokers.rpc.gateway import PUBLISH_KEY, REPLY_KEY, RemoteGateway
from vnpy_brokers.rpc.server import RpcServerEngine
from vnpy_brokers.trader import TraderEngine

NAMES = ("VBROKERS", "IBKR")
BROKERS = {"VBROKERS": "vbrokers", "IBKR": "tws"}
READY = "合约信息查询成功"
TENCENT, IBM = "00700.SEHK", "IBM.SMART"
FREE = "tcp://127.0.0.1:*"
T = TypeVar("T")


class Server:
    """Both gateways on one simulator, in this process, served."""

    def __init__(
        self,
        sim: Simulation,
        *,
        names: Iterable[str] = NAMES,
        keys: Path | None = None,
        ends: tuple[str, str] = (FREE, FREE),
    ) -> None:
        self.sim = sim
        self.rigs: dict[str, Rig] = {}
        self.events = EventEngine()
        self.main = TraderEngine(self.events)
        self.seen = Recorder(self.events)
        for name in names:
            rig = Rig(start=False) if name == "VBROKERS" else IbRig(start=False)
            rig.sim, rig.main, rig.event_engine, rig.seen = sim, self.main, self.events, self.seen
            rig.gateway = rig.add(name)
            self.rigs[name] = rig
        self.rpc = self.main.add_engine(RpcServerEngine)
        self.rpc.start(*ends, keys)

    @property
    def setting(self) -> dict[str, Any]:
        """What a client connects with."""
        return {REPLY_KEY: self.rpc.reply_address, PUBLISH_KEY: self.rpc.publish_address}

    def connect(self, names: Iterable[str] = NAMES, **changes: Any) -> Server:
        for name in names:
            rig = self.rigs[name]
            self.main.connect(rig.setting(**changes), name)
            self.seen.wait(lambda: self.ready(name), f"{name} ready")  # noqa: B023  asked at once
        return self

    def ready(self, name: str) -> bool:
        return any(log.gateway_name == name and log.msg == READY for log in self.seen.of("eLog"))

    def close(self) -> None:
        self.main.close()


class Client:
    """An engine with the server's gateways, as another process has it."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.events = EventEngine()
        self.main = TraderEngine(self.events)
        self.seen = Recorder(self.events)
        self.gateways: dict[str, RemoteGateway] = {}
        for name in names:
            gateway = self.main.add_gateway(RemoteGateway, name)
            assert isinstance(gateway, RemoteGateway)
            self.gateways[name] = gateway

    def connect(self, setting: Mapping[str, Any], *, wait: bool = True) -> Client:
        for name in self.gateways:
            self.main.connect(dict(setting), name)
        if wait:
            for name in self.gateways:
                self.wait(lambda: self.ready(name), f"{name} at the client")  # noqa: B023  asked at once
        return self

    def ready(self, name: str) -> bool:
        return any(log.gateway_name == name and log.msg == READY for log in self.seen.of("eLog"))

    def close(self) -> None:
        self.main.close()

    def wait(self, found: Callable[[], T | None], what: str, deadline: float = DEADLINE) -> T:
        return self.seen.wait(found, what, deadline)

    def subscribe(self, vt_symbol: str, name: str) -> None:
        symbol, _dot, exchange = vt_symbol.rpartition(".")
        self.main.subscribe(SubscribeRequest(symbol, Exchange(exchange)), name)

    def wait_tick(self, vt_symbol: str) -> TickData:
        return self.wait(lambda: self.main.get_tick(vt_symbol), f"tick of {vt_symbol}")

    def send(
        self,
        name: str,
        vt_symbol: str,
        direction: Direction,
        volume: float,
        price: float,
        type: OrderType = OrderType.LIMIT,
        reference: str = "",
    ) -> str:
        symbol, _dot, exchange = vt_symbol.rpartition(".")
        request = OrderRequest(symbol, Exchange(exchange), direction, type, volume, price, Offset.NONE, reference)
        return self.main.send_order(request, name)

    def cancel(self, vt_orderid: str) -> None:
        order = self.main.get_order(vt_orderid)
        assert order is not None
        self.main.cancel_order(order.create_cancel_request(), order.gateway_name)

    def wait_status(self, vt_orderid: str, *statuses: Status, deadline: float = DEADLINE) -> OrderData:
        def found() -> OrderData | None:
            order: OrderData | None = self.main.get_order(vt_orderid)
            return order if order and order.status in statuses else None

        return self.wait(found, f"{vt_orderid} in {[s.name for s in statuses]}", deadline)

    def differences(self, sim: Simulation) -> list[str]:
        return differences(view(self.main, self.seen), sim)

    def wait_equal(self, sim: Simulation, deadline: float = DEADLINE) -> None:
        """Wait until this engine equals both brokers' ``/state``."""
        last: list[str] = []

        def equal() -> bool:
            last[:] = self.differences(sim)
            return not last

        try:
            self.wait(equal, "the client equal to /state", deadline)
        except AssertionError as error:
            raise AssertionError("\n".join([*last, str(error)])) from None


View = dict[str, dict[str, list[list[str]]]]
"""By gateway and kind: sorted rows of text, so that another process can tell its own as JSON."""


def view(main: Any, seen: Recorder) -> View:
    """What an engine shows of each gateway, as rows that can be compared with ``/state``."""
    shown: View = {}
    for name in main.gateways:
        orders = [o for o in main.get_all_orders() if o.gateway_name == name and (o.extra or {}).get("broker_id")]
        # From the events, not from vn.py's table: a trade that is told twice must show.
        trades = [t for t in seen.of(EVENT_TRADE) if t.gateway_name == name]
        positions = [p for p in main.get_all_positions() if p.gateway_name == name and p.volume]
        accounts = [a for a in main.get_all_accounts() if a.gateway_name == name]
        shown[name] = {
            "order": sorted(
                [
                    o.extra["broker_id"], o.vt_symbol, harness._side(o.direction), o.type.name,
                    harness._number(o.price), harness._number(o.volume), harness._number(o.traded), o.status.name,
                ]
                for o in orders
            ),
            "trade": sorted(
                [
                    t.extra["broker_id"], t.vt_symbol, harness._side(t.direction), harness._number(t.price),
                    harness._number(t.volume),
                ]
                for t in trades
            ),
            "position": sorted(
                [p.vt_symbol, harness._number(p.volume), harness._cents(p.price), harness._cents(p.pnl)]
                for p in positions
            ),
            "account": sorted(
                [a.accountid, harness._cents(a.balance), harness._cents(a.frozen), harness._cents(a.available)]
                for a in accounts
            ),
        }  # fmt: skip
    return shown


def truth(sim: Simulation, name: str) -> dict[str, Any]:
    """A broker's own truth, of the trading account."""
    state: dict[str, Any] = sim.state()[BROKERS[name]]
    if name == "IBKR":
        for part in ("orders", "trades", "positions"):
            state[part] = [row for row in state[part] if row["account"] == ACCOUNT]
    return state


def differences(shown: View, sim: Simulation) -> list[str]:
    """How a view differs from both brokers' truth; the quotes should be paused."""
    found = []
    for name, mine in shown.items():
        state = truth(sim, name)
        told = {
            "order": harness._orders(state),
            "trade": harness._trades(state),
            "position": harness._positions(state),
            "account": harness._accounts(state),
        }
        for kind, rows in told.items():
            engine = Counter(tuple(row) for row in mine[kind])
            found += [f"{name} {line}" for line in harness._compare(kind, engine, rows)]
    return found


@contextmanager
def simulated(**options: Any) -> Iterator[Simulation]:
    """One simulator with both brokers, in this process."""
    forget_journals()
    with brokersim.running(vbrokers=True, tws=True, **options) as sim:
        yield sim


@contextmanager
def served(clients: int = 1, *, names: Iterable[str] = NAMES, **options: Any) -> Iterator[tuple[Server, list[Client]]]:
    """A connected server and connected clients, all in this process."""
    with ExitStack() as stack:
        sim = stack.enter_context(simulated(**options))
        server = Server(sim, names=names)
        stack.callback(server.close)
        server.connect(names)
        made = []
        for _each in range(clients):
            client = Client(names)
            stack.callback(client.close)
            made.append(client.connect(server.setting))
        yield server, made
