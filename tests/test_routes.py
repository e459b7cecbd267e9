"""Which gateway owns a vt_symbol: the user's file, else the order of add_gateway."""

from __future__ import annotations

import gc
import json
import threading
import weakref
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.event import EventEngine
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.routes import Routes, registry_for
from vnpy_vbrokers.spelling import serves

VBROKERS = [Exchange.SMART, Exchange.SEHK, Exchange.SSE, Exchange.SZSE]
IBKR = [Exchange.SMART, Exchange.SEHK, Exchange.CME, Exchange.EUREX]


@pytest.fixture
def routes() -> Routes:
    both = Routes()
    both.add("VBROKERS", VBROKERS)
    both.add("IBKR", IBKR)
    return both


def write(path: Path, routes: object) -> Path:
    path.write_text(json.dumps(routes), "utf-8")
    return path


def test_the_first_added_that_serves_the_exchange(routes: Routes) -> None:
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    assert routes.owner("ES-202612-USD-FUT.CME") == "IBKR"
    assert routes.owner("FDAX.EUX") == "IBKR"
    assert routes.owner("IF2612.CFFEX") == ""
    assert routes.owner("no exchange") == ""


def test_a_later_gateway_takes_nothing_over() -> None:
    routes = Routes()
    routes.add("IBKR", IBKR)
    assert routes.owner("AAPL.SMART") == "IBKR"
    assert routes.owner("600519.SSE") == ""
    routes.add("VBROKERS", VBROKERS)
    assert routes.owner("AAPL.SMART") == "IBKR"
    assert routes.owner("600519.SSE") == "VBROKERS"


def test_added_again_it_keeps_its_place_and_serves_less(routes: Routes) -> None:
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    routes.add("VBROKERS", [Exchange.SEHK])
    assert routes.owner("AAPL.SMART") == "IBKR"
    assert routes.owner("00700.SEHK") == "VBROKERS"


def test_the_file_comes_first_exact_then_the_longest_pattern(routes: Routes, tmp_path: Path) -> None:
    written = {"*.SMART": "IBKR", "A*.SMART": "VBROKERS", "AAPL.SMART": "IBKR", "*": "VBROKERS"}
    routes.load(write(tmp_path / "r.json", written))
    assert routes.owner("MSFT.SMART") == "IBKR"
    assert routes.owner("AMD.SMART") == "VBROKERS"
    assert routes.owner("AAPL.SMART") == "IBKR"
    assert routes.owner("ES-202612-USD-FUT.CME") == "VBROKERS"
    assert routes.take_problems() == []


def test_the_file_is_read_once_so_that_owners_stay(routes: Routes, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", {"*.SMART": "IBKR"})
    routes.load(path)
    write(path, {"*.SMART": "VBROKERS"})
    routes.load(path)
    assert routes.owner("AAPL.SMART") == "IBKR"


def test_routes_hold_also_for_who_asked_before_they_were_read(routes: Routes, tmp_path: Path) -> None:
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    routes.load(write(tmp_path / "r.json", {"*.SMART": "IBKR"}))
    assert routes.owner("AAPL.SMART") == "IBKR"


def test_a_route_to_a_gateway_that_is_not_there_is_said_once(routes: Routes, tmp_path: Path) -> None:
    routes.load(write(tmp_path / "r.json", {"AAPL.SMART": "FUTU", "A*.SMART": "IBKR"}))
    assert routes.owner("AAPL.SMART") == "IBKR"
    (line,) = routes.take_problems()
    assert "AAPL.SMART" in line
    assert "FUTU" in line
    routes.add("VBROKERS", VBROKERS)
    assert routes.owner("AAPL.SMART") == "IBKR"
    assert routes.take_problems() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"*.SMART": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_bad_file_is_one_line_and_no_routes(routes: Routes, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broker_routes.json"
    path.write_bytes(content)
    routes.load(path)
    routes.load(path)
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    (line,) = routes.take_problems()
    assert str(path) in line
    assert routes.take_problems() == []


def test_no_file_is_no_problem(routes: Routes, tmp_path: Path) -> None:
    routes.load(tmp_path / "missing.json")
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    assert routes.take_problems() == []


@given(written=st.dictionaries(st.text(max_size=8), st.sampled_from(["IBKR", "VBROKERS", "FUTU"]), max_size=5))
@settings(max_examples=50, deadline=None)
def test_whatever_is_written_there_is_an_owner(
    written: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    routes = Routes()
    routes.add("IBKR", IBKR)
    routes.load(write(tmp_path_factory.mktemp("routes") / "r.json", written))
    assert routes.owner("AAPL.SMART") == "IBKR"


def test_one_registry_per_engine_that_goes_with_it() -> None:
    engine, other = EventEngine(), EventEngine()
    routes = registry_for(engine)
    assert registry_for(engine) is routes
    assert registry_for(other) is not routes
    gone = weakref.ref(routes)
    del engine, routes
    gc.collect()
    assert gone() is None


def test_threads_get_one_registry() -> None:
    engine = EventEngine()
    barrier = threading.Barrier(8)
    found: list[Routes] = []

    def work() -> None:
        barrier.wait(10)
        found.append(registry_for(engine))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len({id(routes) for routes in found}) == 1


def test_an_exchange_alone_does_not_make_an_owner() -> None:
    routes = Routes()
    routes.add("VBROKERS", [Exchange.SMART], serves)
    routes.add("IBKR", [Exchange.SMART])
    names = ("AAPL", "BRK-B", "AAPL-20261218-C-230-100-USD-OPT", "265598")
    owners = {name: routes.owner(f"{name}.SMART") for name in names}
    assert owners == {
        "AAPL": "VBROKERS",
        "BRK-B": "VBROKERS",
        "AAPL-20261218-C-230-100-USD-OPT": "IBKR",
        "265598": "IBKR",
    }


def test_quotes_history_and_orders_may_come_from_different_gateways(routes: Routes, tmp_path: Path) -> None:
    written = {"*.SMART": "IBKR", "AAPL.SMART": {"quotes": "VBROKERS"}, "M*.SMART": {"orders": "VBROKERS"}}
    assert routes.orders("AAPL.SMART", "any") == ""
    routes.load(write(tmp_path / "r.json", {**written, "00700.SEHK": {"quotes": "IBKR", "history": "VBROKERS"}}))
    told = {
        vt_symbol: (routes.owner(vt_symbol), routes.history(vt_symbol), routes.orders(vt_symbol, "any"))
        for vt_symbol in ("AAPL.SMART", "MSFT.SMART", "00700.SEHK", "00005.SEHK")
    }
    assert told == {
        "AAPL.SMART": ("VBROKERS", "IBKR", "IBKR"),
        "MSFT.SMART": ("IBKR", "IBKR", "VBROKERS"),
        "00700.SEHK": ("IBKR", "VBROKERS", ""),
        "00005.SEHK": ("VBROKERS", "VBROKERS", ""),
    }
    assert routes.take_problems() == []


def test_a_route_may_name_a_strategy(routes: Routes, tmp_path: Path) -> None:
    written = {
        "*": "VBROKERS",
        "strategy:海龟": "IBKR",
        "strategy:t_*": {"orders": "IBKR"},
        "strategy:t_hk*": "VBROKERS",
    }
    routes.load(write(tmp_path / "r.json", written))
    names = ("海龟", "t_us", "t_hk1", "other")
    assert [routes.orders("AAPL.SMART", name) for name in names] == ["IBKR", "IBKR", "VBROKERS", "VBROKERS"]
    assert routes.owner("AAPL.SMART") == "VBROKERS"


def test_orders_meant_for_a_gateway_that_is_not_there_go_to_no_other(routes: Routes, tmp_path: Path) -> None:
    written = {"strategy:x": "FUTU", "AAPL.SMART": {"orders": "FUTU"}, "IBM.SMART": "FUTU"}
    routes.load(write(tmp_path / "r.json", written))
    assert routes.orders("AAPL.SMART", "any") == "FUTU"
    assert routes.orders("MSFT.SMART", "x") == "FUTU"
    assert routes.orders("IBM.SMART", "any") == ""


@pytest.mark.parametrize("line", [{"AAPL.SMART": {"quote": "IBKR"}}, {"AAPL.SMART": {"quotes": None}}])
def test_an_object_with_other_words_is_a_bad_file(routes: Routes, tmp_path: Path, line: object) -> None:
    routes.load(write(tmp_path / "r.json", line))
    assert routes.owner("AAPL.SMART") == "VBROKERS"
    assert len(routes.take_problems()) == 1


@pytest.mark.parametrize(
    "vt_symbol", ["aapl.SMART", "AAPL-USD-STK.SMART", "AAPL.US.SMART", "BRK B.SMART", "700.SEHK", "0700-HKD-STK.SEHK"]
)
def test_another_spelling_has_the_owner_of_the_instrument(vt_symbol: str) -> None:
    both = Routes()
    both.add("VBROKERS", VBROKERS, serves)
    both.add("IBKR", IBKR)
    assert both.owner(vt_symbol) == "VBROKERS"
    assert both.owner("AAPL-CAD-STK.SMART") == "IBKR"
    assert both.owner("265598.SMART") == "IBKR"


def test_a_route_may_name_a_spelling_or_mean_the_instrument(routes: Routes, tmp_path: Path) -> None:
    lines = {"AAPL.SMART": "IBKR", "IBM-USD-STK.SMART": {"quotes": "IBKR", "history": "IBKR", "orders": "IBKR"}}
    routes.load(write(tmp_path / "broker_routes.json", lines))
    for vt_symbol, owner in (
        ("AAPL.SMART", "IBKR"),
        ("AAPL-USD-STK.SMART", "IBKR"),
        ("IBM.SMART", "VBROKERS"),
        ("ibm.SMART", "VBROKERS"),
        ("IBM-USD-STK.SMART", "IBKR"),
    ):
        assert (routes.owner(vt_symbol), routes.history(vt_symbol)) == (owner, owner), vt_symbol
        assert routes.orders(vt_symbol, "s") == ("IBKR" if owner == "IBKR" else ""), vt_symbol


def test_an_exchange_that_a_gateway_does_not_offer_is_not_its_spelling() -> None:
    both = Routes()
    both.add("VBROKERS", [*VBROKERS, Exchange.NYSE])
    both.add("IBKR", [*IBKR, Exchange.NASDAQ])
    assert both.owner("AAPL.NYSE") == "VBROKERS"
    assert both.owner("AAPL.NASDAQ") == "IBKR"
    assert both.owner("AAPL.BATS") == ""
