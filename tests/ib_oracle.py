"""Numbered scripts for IBKR, on the ground of the VBrokers ones: other clients, stops, notices, held orders.

At IBKR absence settles nothing (design, section 4): an order that never reached TWS may stay unknown. Everything else
must hold: the engine equals the broker, nothing is sent twice, nothing goes backwards, and what an earlier run of ours
placed is ours under the same local id.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ib_async.contract import Stock as IbStock
from ib_async.order import LimitOrder
from vnpy.trader.constant import Direction, OrderType
from vnpy.trader.object import OrderData

from tests.ib_harness import ACCOUNT, SHORT_IB, IbRig
from tests.oracle_run import Runner, Standing
from tests.oracle_script import (
    LONG,
    SHORT,
    STOCKS,
    Await,
    Cancel,
    Faults,
    Phone,
    Quote,
    Reconnect,
    Restart,
    Script,
    Send,
    fault_of_push,
)
from tests.sim_tws_client import RawClient
from tests.sim_tws_room import Writer

PLACE, CANCEL = "placeOrder", "cancelOrder"
LISTS = ("reqAllOpenOrders", "reqCompletedOrders", "reqExecutions", "reqPositions", "reqAccountSummary")
PUSHES = ("openOrder", "orderStatus", "execDetails", "commissionReport")
HARMLESS = (10349, 399, 404, 2109, 2137, 10147, 10148, 161, 202 * 100)
OTHER_CLIENT = 7
OTHER_PATIENCE_S = 1.0

TIMING = replace(
    SHORT_IB,
    request_timeout=0.6,
    connect_timeout=0.6,
    reconnect=0.1,
    orders_poll=0.4,
    orders_poll_idle=0.6,
    funds_poll=0.3,
    funds_poll_idle=0.5,
    quotes_check=0.5,
    heartbeat=0.6,
    heartbeat_answer=0.5,
    held_line=0.6,
    code_grace=0.15,
    commission_wait=0.05,
)


@dataclass(frozen=True)
class Stop:
    """A stop order of ours, ``ticks`` from the standing price, on the side that triggers later."""

    vt_symbol: str
    direction: str
    lots: int
    ticks: int


@dataclass(frozen=True)
class Other:
    """A limit order of another API client, in the traded account or in a linked one."""

    vt_symbol: str
    direction: str
    lots: int
    ticks: int
    account: str


@dataclass(frozen=True)
class CancelOurs:
    """Cancel everything that this gateway placed."""


@dataclass(frozen=True)
class Remark:
    """A code about the working order at this place of the broker's list."""

    code: int
    place: int


def fault(do: str, **more: Any) -> dict[str, Any]:
    """Return one fault of the TWS half."""
    return {"broker": "tws", "do": do, **more}


def draw(number: int) -> Script:
    """Return script ``number``."""
    return _Pen(number).script()


class _Pen:
    """Draws the steps of one script."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._dice = random.Random(number)
        self._size = 0

    def script(self) -> Script:
        dice = self._dice
        makers = [
            (self._send, 30),
            (self._stop, 6),
            (self._cancel, 12),
            (self._cancel_ours, 2),
            (self._phone, 6),
            (self._other, 6),
            (self._remark, 8),
            (self._quote, 14),
            (self._fault, 24),
            (lambda: Reconnect(), 4),
            (lambda: Restart(), 3),
            (lambda: Await(), 8),
        ]
        steps: list[Any] = []
        for _turn in range(dice.randint(10, 25)):
            [maker] = dice.choices([maker for maker, _w in makers], [weight for _m, weight in makers])
            steps.append(maker())
            if isinstance(steps[-1], Send) and dice.random() < 0.5:
                steps.append(Await())
        switches: dict[str, Any] = {}
        if dice.random() < 0.3:
            switches["tws.zone_text"] = "utc"
        if dice.random() < 0.2:
            switches["tws.download_open_orders"] = True
        return Script(f"number {self._number}", tuple(steps), switches)

    def _stock(self) -> str:
        return self._dice.choices(list(STOCKS), (5, 2, 3))[0]

    def _lots(self, vt_symbol: str) -> int:
        self._size += 1
        return self._size if vt_symbol.endswith("SEHK") else 5 + self._size

    def _side(self) -> str:
        return LONG if self._dice.random() < 0.6 else SHORT

    def _order(self) -> tuple[str, str, int, int | None]:
        vt_symbol = self._stock()
        far = -30 if vt_symbol.endswith("SEHK") else -200
        ticks: int | None = self._dice.choices((far, -3, 0, 5, None), (3, 3, 6, 2, 2))[0]
        return vt_symbol, self._side(), self._lots(vt_symbol), ticks

    def _send(self) -> Send:
        return Send(*self._order())

    def _phone(self) -> Phone:
        return Phone(*self._order())

    def _stop(self) -> Stop:
        vt_symbol = self._stock()
        return Stop(vt_symbol, self._side(), self._lots(vt_symbol), self._dice.choice((1, 5, 40)))

    def _other(self) -> Other:
        vt_symbol = self._stock()
        account = self._dice.choice((ACCOUNT, ACCOUNT, "DU1000003"))
        return Other(vt_symbol, self._side(), self._lots(vt_symbol), self._dice.choice((-30, -3, 0)), account)

    def _cancel(self) -> Cancel:
        return Cancel(self._dice.randrange(20))

    def _cancel_ours(self) -> CancelOurs:
        return CancelOurs()

    def _remark(self) -> Remark:
        return Remark(self._dice.choice(HARMLESS), self._dice.randrange(20))

    def _quote(self) -> Quote:
        vt_symbol = self._stock()
        reach = 8 if vt_symbol.endswith("SEHK") else 60
        return Quote(vt_symbol, self._dice.randint(-reach, reach), self._dice.choice((1, 4, 9, 30, 500)))

    def _fault(self) -> Faults:
        kinds = (
            (self._fault_of_a_mutation, 10),
            (self._fault_of_a_read, 5),
            (self._fault_of_push, 8),
            (self._fault_of_everything, 7),
        )
        [made] = self._dice.choices([kind for kind, _w in kinds], [weight for _k, weight in kinds])
        return Faults(tuple(made()))

    def _fault_of_a_mutation(self) -> list[dict[str, Any]]:
        dice = self._dice
        name = dice.choices((PLACE, CANCEL), (10, 4))[0]
        when = {"message": name, "phase": dice.choice(("before", "after")), "nth": dice.choice((1, 1, 2, 3))}
        times = dice.choice((1, 1, 2))
        kinds = [
            fault("lose_reply", when=when, times=times),
            fault("drop", when=when, times=times),
            fault("drop", when=when),
            fault("garbage", when={**when, "phase": "after"}),
            fault("delay", ms=dice.choice((100, 400)), when=when, times=times),
            fault("split", when=when, times=times),
            fault("join", when=when, times=times),
            fault("stall", for_s=0.5, when=when),
            fault("push", mode="before_reply", when=when, times=times),
            fault("restart", for_s=0.2, when={**when, "phase": "after"}),
        ]
        if name == PLACE:
            kinds.append(fault("hold", when={"message": PLACE}))
            kinds.append(fault("error", code=dice.choice((201, 110, 103, 321, 200)), when={"message": PLACE}))
        return [dice.choice(kinds)]

    def _fault_of_a_read(self) -> list[dict[str, Any]]:
        dice = self._dice
        when = {"message": dice.choice(LISTS), "nth": dice.choice((1, 1, 2, 4))}
        times = dice.choice((1, 2, 4))
        kinds = [
            fault("error", code=dice.choice((322, 323, 504)), when=when, times=times),
            fault("garbage", when=when, times=times),
            fault("oversize", when=when),
            fault("drop", when={**when, "phase": dice.choice(("before", "after"))}),
            fault("delay", ms=dice.choice((50, 300)), when=when, times=times),
            fault("lose_reply", when=when),
            fault("split", when=when, times=times),
        ]
        return [dice.choice(kinds)]

    def _fault_of_push(self) -> list[dict[str, Any]]:
        return [fault_of_push(self._dice, ("push", *PUSHES), fault)]

    def _fault_of_everything(self) -> list[dict[str, Any]]:
        dice = self._dice
        kinds = [
            [fault("restart", for_s=dice.choice((0, 0.3, 1)))],
            [fault("refuse", for_s=dice.choice((0.2, 0.6)))],
            [fault("refuse", for_s=0.4), fault("drop")],
            [fault("drop")],
            [fault("stall", for_s=dice.choice((0.3, 1)))],
            [fault("fill_while_away")],
            [fault("refuse", for_s=0.3), fault("fill_while_away")],
            [fault("daily_reset", for_s=dice.choice((0.3, 0.8)))],
            [fault("notice", code=1100), fault("notice", code=dice.choice((1101, 1102)), when={"after_s": 0.3})],
            [fault("notice", code=2103), fault("notice", code=2104, when={"after_s": 0.3})],
            [fault("notice", code=2110), fault("notice", code=1102, when={"after_s": 0.2})],
        ]
        return list(dice.choice(kinds))


class IbOracleRig(IbRig, Standing):
    """An IBKR rig whose engine can be put up anew beside the standing broker."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"timing": TIMING, **options})


class IbRunner(Runner):
    """One script on its way through IBKR."""

    place, lists = PLACE, "reqAllOpenOrders"
    readings = 3

    def __init__(self, rig: IbOracleRig) -> None:
        super().__init__(rig)
        self._foreign_at_least = self._foreign_at_most = 0
        """Orders of the other client that the broker surely, and perhaps, heard of."""
        self._acts |= {
            Stop: self._stop,
            Other: self._other,
            CancelOurs: lambda step: self._rig.gateway.cancel_all(),
            Remark: self._remark,
        }

    def _phone(self, step: Phone) -> None:
        stock = STOCKS[step.vt_symbol]
        price = 0 if step.ticks is None else self._price(step.vt_symbol, step.direction, step.ticks)
        kind = "MARKET" if step.ticks is None else "LIMIT"
        self._rig.sim.order(
            step.vt_symbol,
            step.direction,
            step.lots * stock.lot,
            price,
            type=kind,
            broker="tws",
            account=ACCOUNT,
        )

    def _stop(self, step: Stop) -> None:
        stock = STOCKS[step.vt_symbol]
        side = 1 if step.direction == LONG else -1
        price = self._last[step.vt_symbol] + side * step.ticks * stock.tick
        direction = Direction[step.direction]
        vt_orderid = self._rig.send(step.vt_symbol, direction, step.lots * stock.lot, float(price), OrderType.STOP)
        self._sent.append(vt_orderid)
        self._sent_in_all += 1

    def _other(self, step: Other) -> None:
        """Another program's order, as far as the broker can be reached at the moment."""
        stock = STOCKS[step.vt_symbol]
        symbol, _dot, exchange = step.vt_symbol.partition(".")
        contract = IbStock(symbol.lstrip("0"), exchange, "HKD" if exchange == "SEHK" else "USD")
        price = self._price(step.vt_symbol, step.direction, step.ticks)
        order = LimitOrder(
            "BUY" if step.direction == LONG else "SELL",
            step.lots * stock.lot,
            float(price),
            tif="DAY",
            account=step.account,
            orderRef="someone else",
        )
        self._foreign_at_most += 1
        # Gone, refused, stalled, garbage: the fault's own business. A time-out is an OSError, too.
        gone = (OSError, EOFError, ValueError, AssertionError)
        with suppress(*gone), RawClient(self._rig.sim.tws_address or "") as client:
            client.socket.settimeout(OTHER_PATIENCE_S)
            messages = client.start(OTHER_CLIENT)
            order_id = next(int(fields[2]) for fields in messages if fields[0] == "9")
            writer = Writer()
            writer.placeOrder(order_id, contract, order)  # type: ignore[no-untyped-call]  # ib_async does not type it
            client.send(*writer.written.pop())
            client.ping()
            self._foreign_at_least += 1

    def _remark(self, step: Remark) -> None:
        live = [row for row in self._rig.truth()["orders"] if row["status"] in ("NOTTRADED", "PARTTRADED")]
        if live:
            order = live[step.place % len(live)]["id"]
            self._rig.sim.faults([fault("notice", code=step.code, text="a remark", order=order)])

    def _requests(self) -> int:
        return super()._requests() - self._foreign_at_least

    def _never_arrives(self, order: OrderData) -> bool:
        return super()._never_arrives(order) or bool((order.extra or {}).get("unknown"))

    def _judge(self) -> None:
        """A link or farm that a fault has broken returns before the end."""
        self._rig.sim.clear_faults()
        self._rig.sim.faults([fault("notice", code=1102), fault("notice", code=2104)])
        super()._judge()

    def _settle(self) -> None:
        """Absence settles nothing at IBKR: only what the broker has must be known, which equality says."""

    def _trade_id(self, row: Mapping[str, Any]) -> str:
        return str(row["id"]).rpartition(".")[0]

    def _wrong_requests(self) -> list[str]:
        requests = self._requests() + self._foreign_at_least - self._foreign_at_most
        return [f"{requests} requests for {self._sent_in_all} orders"] if requests > self._sent_in_all else []

    def _wrong_orders(self, truth: Mapping[str, Any]) -> list[str]:
        """Find orders of ours that came back as somebody else's, or the reverse."""
        wrong: list[str] = []
        orders = {(order.extra or {}).get("broker_id"): order for order in self._rig.main.get_all_orders()}
        for row in truth["orders"]:
            order = orders[row["id"]]
            local, mark, _reference = row["reference"].partition("|")
            external = bool((order.extra or {})["external"])
            if external is not (mark == ""):
                wrong.append(f"{order.vt_orderid} ({row['reference']}) external: {external}")
            if mark and order.orderid != local:
                wrong.append(f"{order.vt_orderid} came back under another id than {local}")
        return wrong


def run(script: Script) -> None:
    """Run a script; AssertionError that names what does not hold at its end."""
    positions = [
        {
            "broker": "tws",
            "account": ACCOUNT,
            "vt_symbol": stock.vt_symbol,
            "volume": stock.held,
            "price": str(stock.cost),
        }
        for stock in STOCKS.values()
    ]
    rig = IbOracleRig(positions=positions, switches=script.switches)
    with rig:
        IbRunner(rig).run(script)
