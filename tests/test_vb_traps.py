"""The traps of vn.py's engine that concern a gateway, each a test by its number in the reference."""

from __future__ import annotations

import time
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Exchange, OrderType, Status
from vnpy.trader.object import OrderRequest
from vnpy.trader.utility import TEMP_DIR

from tests.harness import Rig
from tests.ib_harness import IbRig
from tests.trap_checks import Returned, check_forward, check_plain


def test_trap_1_no_handler_of_ours_runs_on_the_event_thread() -> None:
    with Rig() as rig:
        assert rig.event_engine._general_handlers == []
        before = {kind: list(handlers) for kind, handlers in rig.event_engine._handlers.items()}
        rig.connect()
        assert {kind: list(handlers) for kind, handlers in rig.event_engine._handlers.items()} == before


def everything(rig: Rig) -> list[Any]:
    """One of each event, made by a whole little session."""
    rig.connect()
    rig.subscribe("IBM.SMART", "00700.SEHK")
    rig.wait_tick("IBM.SMART")
    rig.wait_tick("00700.SEHK")
    order = rig.send("IBM.SMART", Direction.LONG, 5, rig.tick("IBM.SMART").last_price + 3)
    rig.wait_status(order, Status.ALLTRADED)
    refused = rig.send("IBM.SMART", Direction.LONG, 5, float("nan"))
    rig.wait_status(refused, Status.REJECTED)
    rig.wait(lambda: rig.main.get_all_positions(), "a position")
    return [data for _kind, data in rig.seen.events]


def test_traps_2_3_and_10_times_are_aware_extras_pickle_and_numbers_are_plain() -> None:
    with Rig() as rig:
        check_plain(everything(rig))


def test_trap_4_nothing_but_submitting_is_pushed_before_send_order_returns() -> None:
    with Rig() as rig:
        rig.sim.switches(push_before_reply=True)
        rig.connect()
        rig.sim.pause()
        rig.subscribe("IBM.SMART")
        rig.wait_tick("IBM.SMART")
        rig.sim.quote("IBM.SMART", last=100, bid="99.99", ask="100.01", bid_size=10000, ask_size=10000)
        rig.wait(lambda: rig.tick("IBM.SMART").ask_price_1 == 100.01, "the quote")
        returned = Returned(rig)
        for number in range(60):
            price = 100.01 if number % 2 else -1.0  # a fill, and a refusal of our own
            vt_orderid = returned.note(rig.send("IBM.SMART", Direction.LONG, 1, price))
            if number % 10 == 9:
                rig.wait_status(vt_orderid, Status.ALLTRADED)
        assert returned.early == []


def test_trap_5_ids_hold_no_dot_and_are_unique() -> None:
    with Rig() as rig:
        rig.connect()
        ids = [rig.send("IBM.SMART", Direction.LONG, 0, 1) for _ in range(500)]
        assert len(set(ids)) == 500
        assert all(vt_orderid.count(".") == 1 for vt_orderid in ids)
        assert all(vt_orderid.partition(".")[2].startswith("VB") for vt_orderid in ids)


def test_trap_6_contracts_seen_before_and_preloaded_come_at_connect() -> None:
    with Rig() as rig:
        rig.connect(预加载合约="700.HK, AAPL.SMART，BRK.B.SMART")
        lines = [getattr(data, "msg", "") for _kind, data in rig.seen.events]
        at = lines.index("合约信息查询成功")
        before = {data.vt_symbol for kind, data in rig.seen.events[:at] if kind == "eContract."}
        assert before >= {"00700.SEHK", "AAPL.SMART", "BRK-B.SMART"}
    with Rig() as rig:
        rig.connect()
        assert rig.main.get_contract("BRK-B.SMART") is not None


def test_trap_6_symbols_of_strategies_and_recorders_come_at_connect() -> None:
    cta = TEMP_DIR / "cta_strategy_setting.json"
    recorder = TEMP_DIR / "data_recorder_setting.json"
    cta.write_text('{"a": {"class_name": "X", "vt_symbol": "TSLA.SMART", "setting": {}}}', encoding="utf-8")
    recorder.write_text('{"tick": {"QQQ.SMART": {}}, "bar": {"IF888.CFFEX": {}}}', encoding="utf-8")
    try:
        with Rig() as rig:
            rig.connect()
            assert rig.main.get_contract("TSLA.SMART") is not None
            assert rig.main.get_contract("QQQ.SMART") is not None
    finally:
        cta.unlink()
        recorder.unlink()


def test_trap_7_the_cache_holds_names_of_enums_not_their_translated_values() -> None:
    with Rig() as rig:
        rig.connect(预加载合约="AAPL.SMART")
        rig.close()
    text = (TEMP_DIR / "vbrokers_contracts.json").read_text(encoding="utf-8")
    assert '"product":"EQUITY"' in text
    assert "股票" not in text


def test_trap_8_every_call_returns_at_once_while_the_broker_hangs() -> None:
    with Rig() as rig:
        rig.connect()
        rig.sim.faults([{"broker": "vbrokers", "do": "stall", "for_s": 3}])
        started = time.monotonic()
        rig.subscribe("TSLA.SMART")
        rig.send("IBM.SMART", Direction.LONG, 1, 50)
        rig.gateway.query_account()
        rig.gateway.query_position()
        rig.gateway.cancel_all("美股")
        rig.main.connect(rig.setting(), "VBROKERS")
        assert time.monotonic() - started < 0.2


def test_trap_9_no_bool_in_the_settings_and_the_password_is_masked_in_both_languages() -> None:
    with Rig(start=False) as rig:
        defaults = rig.gateway.get_default_setting()
        assert not any(isinstance(value, bool) for value in defaults.values())
        assert next(iter(defaults)) == "环境"
        assert defaults["环境"][0] == "内置模拟"
        from vnpy.trader.locale import _ as vnpy_text

        assert any(vnpy_text("密码") in key for key in defaults)


def test_trap_12_a_trade_told_twice_is_told_once_also_after_a_reconnect() -> None:
    with Rig() as rig:
        rig.connect()
        rig.sim.pause()
        order = rig.send("IBM.SMART", Direction.LONG, 5, rig_quote(rig) + 3)
        rig.wait_status(order, Status.ALLTRADED)
        rig.main.connect(rig.setting(), "VBROKERS")
        rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == 2, "connected again")
        rig.wait_equal()
        (trade,) = rig.main.get_all_trades()
        assert trade.tradeid == f"{(trade.extra or {})['broker_id']}-5"


def rig_quote(rig: Rig) -> float:
    rig.subscribe("IBM.SMART")
    return float(rig.wait_tick("IBM.SMART").last_price)


def test_a_restarted_process_sees_the_same_orders_and_trades_under_the_same_trade_ids() -> None:
    with Rig() as rig:
        rig.connect()
        rig.sim.pause()
        order = rig.send("IBM.SMART", Direction.LONG, 5, rig_quote(rig) + 3)
        rig.wait_status(order, Status.ALLTRADED)
        rig.wait_equal()
        before = {trade.tradeid for trade in rig.main.get_all_trades()}
        with Rig(start=False) as later:
            later.sim = rig.sim
            later.connect()
            later.wait_equal()
            assert {trade.tradeid for trade in later.main.get_all_trades()} == before


def test_trap_11_ticks_that_arrive_late_are_dropped() -> None:
    with Rig() as rig:
        rig.sim.faults(
            [{"broker": "vbrokers", "do": "push", "mode": "reorder", "when": {"message": "push"}, "times": 200}]
        )
        rig.connect()
        rig.subscribe("IBM.SMART", "AAPL.SMART")
        rig.wait(lambda: len(rig.seen.of("eTick.")) > 30, "thirty ticks")
        for vt_symbol in ("IBM.SMART", "AAPL.SMART"):
            check_forward(t for t in rig.seen.of("eTick.") if t.vt_symbol == vt_symbol)


@pytest.mark.parametrize("rig_class", [Rig, IbRig], ids=["VBROKERS", "IBKR"])
@pytest.mark.parametrize(("field", "value"), [("direction", None), ("type", None), ("offset", None), ("type", "LIMIT")])
def test_a_request_that_is_no_order_has_an_end_in_words(rig_class: type[Rig], field: str, value: object) -> None:
    with rig_class() as rig:
        rig.connect()
        request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 1, 19.0)
        setattr(request, field, value)
        vt_orderid = rig.main.send_order(request, rig.name)
        order = rig.wait_status(vt_orderid, Status.REJECTED)
        assert field in str(order.extra)
        assert not any("内部错误" in line for line in rig.seen.log_lines())
        check_plain(data for _kind, data in rig.seen.events)


@pytest.mark.parametrize("rig_class", [Rig, IbRig], ids=["VBROKERS", "IBKR"])
def test_a_reference_that_is_no_text_stops_no_later_order(rig_class: type[Rig]) -> None:
    """The journal could not hold it, and refused every order after it."""
    with rig_class() as rig:
        rig.connect()
        for reference in (None, 5):
            request = OrderRequest("IBM", Exchange.SMART, Direction.LONG, OrderType.LIMIT, 1, 19.0)
            setattr(request, "reference", reference)  # noqa: B010  as an untyped strategy does
            rig.wait_status(rig.main.send_order(request, rig.name), Status.NOTTRADED)
        assert [order.reference for order in rig.main.get_all_orders()] == ["", "5"]
