"""kill -9 at each step of the order journal, and what the next start makes of it (design, section 4, "Journal").

Whatever the instant: each order is certainly not sent, or found at the broker under its own id, or reported unknown;
and nothing is ever sent twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Status

import brokersim
from tests.harness import Rig, forget_journals
from tests.ib_harness import IbRig
from vnpy_brokerkit.findings import Kind
from vnpy_brokerkit.journal_rows import Step

ROOT = Path(__file__).resolve().parent.parent
POINTS = [
    *(f"{when}:{step.value}" for step in Step if step is not Step.REFUSED for when in ("before", "after")),
    "before:fill",
    "after:fill",
    "wire",
]
PLACE = {"VBROKERS": ("vbrokers", "/trade/TradeEntrust"), "IBKR": ("tws", "placeOrder")}
RIGS: dict[str, type[Rig]] = {"VBROKERS": Rig, "IBKR": IbRig}
CHILD_S = 60


def sends_lose_their_reply(broker: str) -> list[dict[str, Any]]:
    """What makes the outcome of the first order unknown."""
    if broker == "vbrokers":
        return [{"broker": broker, "do": "lose_reply", "when": {"message": "/trade/TradeEntrust"}}]
    return [
        {"broker": broker, "do": "drop", "when": {"message": "placeOrder", "phase": "before"}},
        {"broker": broker, "do": "refuse", "for_s": 1, "when": {"message": "placeOrder"}},
    ]


@dataclass
class Killed:
    """What the child left: the ids that it was given, and how it ended."""

    orderids: list[str]
    code: int


def run_child(rig: Rig, point: str) -> Killed:
    """Let a trading process run to its end; the parent kills it at ``wire``, when the broker has heard of an order."""
    broker, place = PLACE[rig.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.kill_child", rig.name, json.dumps(rig.setting()), point],
        cwd=os.environ["VNPY_TESTS_FOLDER"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with child:
        if point == "wire":
            rig.seen.wait(lambda: child.poll() is not None or rig.sim.wire()[broker].get(place, 0), "an order", CHILD_S)
            child.kill()
        out, errors = child.communicate(timeout=CHILD_S)
    ids = [line.rpartition(".")[2] for line in out.decode().split() if line.startswith(f"{rig.name}.")]
    assert child.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    return Killed(ids, child.returncode)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", RIGS)
def test_kill_at_each_step(name: str, point: str) -> None:
    broker, place = PLACE[name]
    forget_journals()
    with brokersim.running(vbrokers=broker == "vbrokers", tws=broker == "tws") as sim:
        sim.pause()
        sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=500, ask_size=500)
        if Step.UNKNOWN.value in point:
            sim.faults(sends_lose_their_reply(broker))
        elif point == "wire" and broker == "vbrokers":
            sim.faults([{"broker": broker, "do": "delay", "ms": 3000, "when": {"message": place}}])
        rig = RIGS[name](start=False, keep_journals=True)
        rig.sim = sim
        with rig:
            killed = run_child(rig, point)
            sim.clear_faults()
            requests = sim.wire()[broker].get(place, 0)
            assert requests <= 2
            rig.connect()
            rig.wait_equal()
            rig.wait(lambda: not suspense(rig, name), f"every order accounted for: {suspense(rig, name)}")
            rig.wait_equal()
            at_broker = {row["id"]: row for row in rig.truth()["orders"]}
            mine = {order.orderid: order for order in rig.main.get_all_orders() if order.orderid in killed.orderids}
            found = {(order.extra or {}).get("broker_id"): order for order in rig.main.get_all_orders()}
            assert set(at_broker) <= set(found)
            # Each order at the broker is one of the child's own; the first of its ids may not have been printed yet.
            owned = [found[broker_id] for broker_id in at_broker]
            assert len({order.orderid for order in owned}) == len(owned) <= 2
            assert all((order.extra or {})["external"] is False for order in owned)
            assert all(order.reference == "killed" for order in owned)
            for order in mine.values():
                assert order in owned or order.status in (Status.REJECTED, Status.SUBMITTING), order
            after = sim.wire()[broker].get(place, 0)
            assert after == requests, "something was sent again"
            rig.send("IBM.SMART", Direction.LONG, 10, 90)  # and trading goes on
            rig.wait(lambda: sim.wire()[broker].get(place, 0) == requests + 1, "a new order at the broker")
            rig.wait_equal()


def suspense(rig: Rig, name: str) -> list[str]:
    """Orders whose outcome is neither known nor, at IBKR, reported as unknown."""
    report = rig.gateway.findings.last
    reported = {finding.orderid for finding in report.of(Kind.UNKNOWN)} if report else set()
    return [
        order.orderid
        for order in rig.main.get_all_orders()
        if order.status is Status.SUBMITTING and not (name == "IBKR" and order.orderid in reported)
    ]
