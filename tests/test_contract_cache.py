"""Contracts over restarts: what comes back, and what a damaged file may do (nothing)."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Exchange, OptionType, Product
from vnpy.trader.object import ContractData

from vnpy_brokerkit.contract_cache import ContractCache


def stock(symbol: str = "AAPL", gateway_name: str = "VBROKERS") -> ContractData:
    contract = ContractData(
        gateway_name=gateway_name,
        symbol=symbol,
        exchange=Exchange.SMART,
        name="苹果",
        product=Product.EQUITY,
        size=1.0,
        pricetick=0.01,
        net_position=True,
        history_data=True,
    )
    contract.extra = {"conId": 265598, "venues": ["NASDAQ"]}
    return contract


def option() -> ContractData:
    return ContractData(
        gateway_name="VBROKERS",
        symbol="AAPL-20261218-C-152_5-USD-OPT",
        exchange=Exchange.EUREX,
        name="AAPL",
        product=Product.OPTION,
        size=100.0,
        pricetick=0.05,
        max_volume=1000.0,
        option_strike=152.5,
        option_underlying="AAPL.SMART",
        option_type=OptionType.CALL,
        option_expiry=datetime(2026, 12, 18, tzinfo=timezone.utc),
        option_index="152.5",
    )


def saved(folder: Path, *contracts: ContractData) -> ContractCache:
    cache = ContractCache(folder, "VBROKERS")
    for contract in contracts:
        cache.put(contract)
    assert cache.save() is True
    return cache


def test_what_was_put_comes_back_after_a_restart(tmp_path: Path) -> None:
    cache = saved(tmp_path / "vn", stock(), option())
    assert cache.path == tmp_path / "vn" / "vbrokers_contracts.json"
    again = ContractCache(tmp_path / "vn", "VBROKERS")
    assert again.load() == [stock(), option()]
    assert again.problem == ""


def test_nothing_saved_is_nothing_loaded(tmp_path: Path) -> None:
    cache = ContractCache(tmp_path, "VBROKERS")
    assert cache.load() == []
    assert cache.problem == ""
    assert cache.save() is True
    assert os.listdir(tmp_path) == []


def test_every_field_of_a_contract_is_kept(tmp_path: Path) -> None:
    """A field that a later vn.py adds must not be lost without notice."""
    saved(tmp_path, option())
    (row,) = json.loads((tmp_path / "vbrokers_contracts.json").read_text("utf-8"))["contracts"]
    kept = set(asdict(option())) - {"gateway_name"}
    assert set(row) <= kept
    given_values = {name for name, value in asdict(option()).items() if value not in (None, False, 1)}
    assert given_values - {"gateway_name"} <= set(row)
    (back,) = ContractCache(tmp_path, "VBROKERS").load()
    assert asdict(back) == asdict(option())


def test_enums_stand_there_by_name(tmp_path: Path) -> None:
    saved(tmp_path, option())
    (row,) = json.loads((tmp_path / "vbrokers_contracts.json").read_text("utf-8"))["contracts"]
    assert (row["exchange"], row["product"], row["option_type"]) == ("EUREX", "OPTION", "CALL")


def test_hints_stay_beside_their_contract(tmp_path: Path) -> None:
    cache = ContractCache(tmp_path, "VBROKERS")
    cache.put(stock(), {"dataType": "20000"})
    cache.put(stock())
    cache.save()
    again = ContractCache(tmp_path, "VBROKERS")
    again.load()
    assert again.hints("AAPL.SMART") == {"dataType": "20000"}
    assert again.hints("MSFT.SMART") == {}
    again.put(stock(), {})
    assert again.hints("AAPL.SMART") == {}


def test_objects_are_copied_in_and_out(tmp_path: Path) -> None:
    cache = ContractCache(tmp_path, "VBROKERS")
    contract, hints = stock(), {"dataType": "20000"}
    cache.put(contract, hints)
    contract.gateway_name = "PAPER"
    assert contract.extra is not None
    contract.extra["venues"].append("ARCA")
    hints.clear()
    cache.hints("AAPL.SMART").clear()
    cache.save()
    again = ContractCache(tmp_path, "VBROKERS")
    (first,) = again.load()
    first.pricetick = 9
    assert again.load() == [stock()]
    assert again.hints("AAPL.SMART") == {"dataType": "20000"}


def test_decimals_become_plain_numbers(tmp_path: Path) -> None:
    contract = stock()
    contract.pricetick = Decimal("0.01")  # type: ignore[assignment]  # what a careless plugin may hand over
    contract.min_volume = Decimal(100)  # type: ignore[assignment]  # the same
    saved(tmp_path, contract)
    (back,) = ContractCache(tmp_path, "VBROKERS").load()
    assert (back.pricetick, type(back.pricetick), back.min_volume) == (0.01, float, 100.0)


def test_an_extra_that_json_cannot_hold_is_refused_at_once(tmp_path: Path) -> None:
    contract = stock()
    contract.extra = {"lock": object()}
    with pytest.raises(TypeError):
        ContractCache(tmp_path, "VBROKERS").put(contract)


def test_the_oldest_leave_first(tmp_path: Path) -> None:
    cache = ContractCache(tmp_path, "VBROKERS", limit=3)
    for symbol in ("A", "B", "C", "A", "D"):
        cache.put(stock(symbol))
    cache.save()
    assert [c.symbol for c in ContractCache(tmp_path, "VBROKERS").load()] == ["C", "A", "D"]
    assert [c.symbol for c in ContractCache(tmp_path, "VBROKERS", limit=2).load()] == ["A", "D"]


def test_what_was_put_before_loading_is_newer(tmp_path: Path) -> None:
    saved(tmp_path, stock())
    cache = ContractCache(tmp_path, "VBROKERS")
    changed = stock()
    changed.name = "Apple"
    cache.put(changed)
    cache.load()
    cache.save()
    assert [c.name for c in ContractCache(tmp_path, "VBROKERS").load()] == ["Apple"]


def test_nothing_is_written_without_a_change(tmp_path: Path) -> None:
    cache = saved(tmp_path, stock())
    cache.path.unlink()
    cache.put(stock())
    cache.save()
    assert not cache.path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    assert saved(tmp_path, stock()).path.stat().st_mode & 0o777 == 0o600


def test_a_disk_that_refuses_is_said_and_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "vn"
    blocked.write_text("a file where the folder should be")
    cache = ContractCache(blocked, "VBROKERS")
    cache.put(stock())
    assert cache.save() is False
    assert str(cache.path) in cache.problem
    blocked.unlink()
    assert cache.save() is True
    assert cache.problem == ""
    assert cache.path.exists()


BAD_FILES = [b"", b"{", b"null", b'{"version": 1}', b'{"version": 2, "contracts": []}', b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_corrupt_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    cache = ContractCache(tmp_path, "VBROKERS")
    cache.path.write_bytes(content)
    assert cache.load() == []
    assert "vbrokers_contracts.json.corrupt" in cache.problem
    assert (tmp_path / "vbrokers_contracts.json.corrupt").read_bytes() == content
    cache.put(stock())
    assert cache.save() is True
    assert ContractCache(tmp_path, "VBROKERS").load() == [stock()]


@pytest.mark.parametrize(
    "change",
    [
        {"exchange": "MOON"},
        {"product": "股票"},
        {"option_type": "BOTH"},
        {"colour": "red"},
        {"size": None},
        {"pricetick": "0.01"},
        {"hints": {"a": 1}},
    ],
)
def test_a_row_that_is_not_understood_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    cache = saved(tmp_path, stock(), stock("MSFT"))
    file = json.loads(cache.path.read_text("utf-8"))
    file["contracts"][0].update(change)
    cache.path.write_text(json.dumps(file), "utf-8")
    again = ContractCache(tmp_path, "VBROKERS")
    assert again.load() == [stock("MSFT")]
    assert "1" in again.problem


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(content=st.binary(max_size=100) | st.lists(_json, max_size=4).map(
    lambda rows: json.dumps({"version": 1, "contracts": rows}).encode()
))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_file_breaks_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    cache = ContractCache(tmp_path_factory.mktemp("cache"), "VBROKERS")
    cache.path.write_bytes(content)
    assert cache.load() == []
    assert cache.problem or json.loads(content)["contracts"] == []
