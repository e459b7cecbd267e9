"""Login, connecting and ending: a wrong password once, no secret anywhere, no thread left."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from vnpy.trader.constant import Direction, Status
from vnpy.trader.utility import TEMP_DIR

import brokersim
from tests.harness import Rig
from vnpy_brokerkit.timing import Timing

PASSWORD = "S3cret-交易-Pass"
LOGIN = "/trade/TradeLogin"


def logins(rig: Rig) -> int:
    return rig.sim.wire()["vbrokers"].get(LOGIN, 0)


def test_a_wrong_password_is_tried_once_also_over_restarts() -> None:
    with Rig(password=PASSWORD) as rig:
        rig.main.connect(rig.setting(交易密码="wrong"), "VBROKERS")
        assert "交易密码" in rig.wait_log("交易登录被拒绝")
        assert logins(rig) == 1
        again = rig.add("VBROKERS2")  # a process that starts anew: its first connect() is nobody's in particular
        latch_of(again, rig.gateway)
        rig.main.connect(rig.setting(交易密码="wrong"), "VBROKERS2")
        rig.wait_log("不再自动重试")
        assert logins(rig) == 1


def latch_of(second: Any, first: Any) -> None:
    """Both share the file on disk, as two processes would."""
    assert second.connects == 0
    assert first.connects == 1
    assert (TEMP_DIR / "vbrokers_latch.json").exists()


def test_the_latch_opens_by_changed_settings_and_by_a_person() -> None:
    with Rig(password=PASSWORD) as rig:
        rig.main.connect(rig.setting(交易密码="wrong"), "VBROKERS")
        rig.wait_log("交易登录被拒绝")
        rig.main.connect(rig.setting(交易密码="wrong"), "VBROKERS")  # the second in this process: a person
        rig.wait(lambda: logins(rig) == 2, "the person's try")
        other = rig.add("VBROKERS2")
        rig.wait(lambda: sum("交易登录被拒绝" in line for line in rig.seen.log_lines()) == 2, "refused again")
        rig.main.connect(rig.setting(交易密码=PASSWORD), "VBROKERS2")  # changed settings
        rig.wait_log("合约信息查询成功")
        assert logins(rig) == 3
        assert not (TEMP_DIR / "vbrokers_latch.json").exists()
        assert other.connects == 1


def test_a_login_that_somebody_displaces_says_nothing_about_the_password() -> None:
    with Rig() as rig:
        displaced = {"broker": "vbrokers", "do": "error", "code": "1013", "when": {"message": LOGIN}, "times": 2}
        rig.sim.faults([displaced])
        rig.main.connect(rig.setting(), "VBROKERS")
        rig.wait_log("合约信息查询成功")
        assert logins(rig) == 3
        assert not (TEMP_DIR / "vbrokers_latch.json").exists()
        assert not any("交易登录被拒绝" in line for line in rig.seen.log_lines())


@pytest.mark.parametrize("key", ["", "short", "m+qS04/2CH1OweCnmXZ3", "é" * 32])
def test_a_key_that_is_none_is_said_and_nothing_is_sent(key: str) -> None:
    with Rig() as rig:
        if not key:
            rig.connect(AES密钥=key)  # blank means the protocol's own key
            return
        rig.main.connect(rig.setting(AES密钥=key), "VBROKERS")
        line = rig.wait_log("AES密钥")
        assert key not in line
        assert rig.sim.wire()["vbrokers"] == {}


def test_a_wrong_but_well_formed_key_is_named_with_the_password() -> None:
    with Rig() as rig:
        rig.main.connect(rig.setting(AES密钥="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "VBROKERS")
        line = rig.wait_log("交易登录被拒绝")
        assert "AES密钥" in line
        assert logins(rig) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"端口": "abc"}, "端口"),
        ({"端口": 0}, "端口"),
        ({"推送端口": 70000}, "推送端口"),
        ({"环境": ""}, "环境"),
        ({"市场": "月球"}, "市场"),
        ({"港股限价单": "x"}, "港股限价单"),
        ({"地址": "http://x/"}, "地址"),
    ],
)
def test_a_bad_setting_is_one_line_and_no_request(change: dict[str, Any], words: str) -> None:
    with Rig() as rig:
        rig.main.connect(rig.setting(**change), "VBROKERS")
        assert words in rig.wait_log("未连接")
        assert rig.sim.wire()["vbrokers"] == {}


def test_unknown_keys_are_named_and_ignored_and_lists_mean_their_first_item() -> None:
    with Rig() as rig:
        rig.main.connect(rig.setting(环境=["测试环境", "实盘"], 旧设置="1", 市场=["美股"]), "VBROKERS")
        assert "旧设置" in rig.wait_log("忽略")
        rig.wait_log("合约信息查询成功")


def test_no_secret_is_seen_anywhere(capfd: pytest.CaptureFixture[str]) -> None:
    from vnpy_vbrokers.wire.crypto import DEFAULT_KEY, decode_key, encrypt_password

    cipher = encrypt_password(PASSWORD, decode_key(DEFAULT_KEY))
    with Rig(password=PASSWORD) as rig:
        troubles: list[dict[str, Any]] = [
            {"do": "garbage"},
            {"do": "drop"},
            {"do": "http_status", "code": 500},
            {"do": "error", "code": "1011", "text": f"busy {PASSWORD} {cipher}"},
        ]
        rig.sim.faults(
            [
                {"broker": "vbrokers", "when": {"message": LOGIN, "nth": nth}, **trouble}
                for nth, trouble in enumerate(troubles, start=1)
            ]
        )
        rig.connect(交易密码=PASSWORD)
        rig.sim.faults([{"broker": "vbrokers", "do": "expire"}])
        rig.wait_log("重新登录")
        order = rig.send("IBM.SMART", Direction.LONG, 1, 1)
        rig.wait_status(order, Status.NOTTRADED)
        seen = repr(rig.seen.events) + repr(rig.gateway.__dict__.get("session")) + repr(vars(rig.gateway.session))
    out, err = capfd.readouterr()
    files = "".join(
        path.read_text("utf-8", "replace") for path in TEMP_DIR.rglob("*") if path.is_file() and path.suffix != ".db"
    )
    for secret in (PASSWORD, cipher):
        for where, text in (("events", seen), ("stdout", out), ("stderr", err), ("files", files)):
            assert secret not in text, where


# ---------------------------------------------------------------------- connecting


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def test_connect_returns_at_once_and_connects_by_itself_when_the_gateway_starts() -> None:
    port, push = free_ports(2)
    setting = {"环境": "测试环境", "端口": port, "推送端口": push, "交易密码": "123456", "市场": "美股"}
    with Rig(start=False, timing=Timing()) as rig:
        started = time.monotonic()
        rig.main.connect(setting, "VBROKERS")
        assert time.monotonic() - started < 0.1
        line = rig.wait_log("无法连接OpenAPI Gateway")
        assert f"127.0.0.1:{port}" in line
        assert "请启动Gateway" in line
        with brokersim.running(vbrokers_port=port, push_port=push) as rig.sim:
            started = time.monotonic()
            rig.wait_log("登录成功")
            assert time.monotonic() - started < 3
            rig.wait_log("合约信息查询成功")
            refused = [line for line in rig.seen.log_lines() if "无法连接OpenAPI Gateway" in line]
            assert len(refused) == 1
            rig.close()


def test_send_order_returns_with_the_loop_thread_stopped() -> None:
    with Rig() as rig:
        rig.connect()
        rig.subscribe("IBM.SMART")
        rig.wait_tick("IBM.SMART")
        loop = rig.gateway._thread.loop
        assert loop is not None
        stuck, go_on = threading.Event(), threading.Event()

        def block() -> None:
            stuck.set()
            go_on.wait(20)

        loop.call_soon_threadsafe(block)
        assert stuck.wait(5)
        taken = []
        for _ in range(200):
            started = time.perf_counter()
            rig.send("IBM.SMART", Direction.LONG, 1, 50)
            taken.append(time.perf_counter() - started)
        assert statistics.median(taken) <= 0.0005
        go_on.set()


def test_an_order_that_waited_too_long_in_a_stuck_loop_is_not_sent() -> None:
    with Rig(timing=Timing(order_max_age=0.2)) as rig:
        rig.connect()
        loop = rig.gateway._thread.loop
        assert loop is not None
        stuck, go_on = threading.Event(), threading.Event()

        def block() -> None:
            stuck.set()
            go_on.wait(20)

        loop.call_soon_threadsafe(block)
        assert stuck.wait(5)
        order = rig.send("IBM.SMART", Direction.LONG, 1, 50)
        started = rig.gateway.clock.monotonic()
        rig.wait(lambda: rig.gateway.clock.monotonic() - started > 0.3, "the order to age")
        go_on.set()
        rejected = rig.wait_status(order, Status.REJECTED)
        assert "未发送" in (rejected.extra or {})["reason"]
        assert "/trade/TradeEntrust" not in rig.sim.wire()["vbrokers"]


# ---------------------------------------------------------------------- ending


def gateway_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if "VBROKERS" in t.name or "asyncio" in t.name]


def test_close_ends_in_time_leaves_no_thread_and_lists_what_stays(capfd: pytest.CaptureFixture[str]) -> None:
    with Rig() as rig:
        rig.connect()
        stays = rig.send("IBM.SMART", Direction.LONG, 3, 50)
        goes = rig.send("IBM.SMART", Direction.LONG, 4, 50)
        for order in (stays, goes):
            rig.wait_status(order, Status.NOTTRADED)
        rig.sim.faults([{"broker": "vbrokers", "do": "push", "mode": "late", "times": 4}])
        started = time.monotonic()
        rig.cancel(goes)  # right before the end: it must still go out, and its end follows the answer
        rig.gateway.close()
        assert time.monotonic() - started < 5
        assert gateway_threads() == []
        rig.gateway.close()  # a second time is harmless
        statuses = {row["volume"]: row["status"] for row in rig.sim.state()["vbrokers"]["orders"]}
        assert statuses == {"3": "NOTTRADED", "4": "CANCELLED"}
        assert rig.sim.wire()["vbrokers"].get("/trade/TradeLogout", 0) == 0
        assert rig.sim.wire()["vbrokers"].get("/hq/Unsubscribe", 0) == 0
    err = capfd.readouterr().err
    assert stays.partition(".")[2] in err
    assert goes.partition(".")[2] not in err


def test_close_takes_five_seconds_at_most_whatever_the_broker_does() -> None:
    with Rig(timing=Timing()) as rig:
        rig.connect()
        rig.sim.faults([{"broker": "vbrokers", "do": "stall", "for_s": 20}])
        rig.send("IBM.SMART", Direction.LONG, 3, 50)
        rig.wait(lambda: rig.sim.wire()["vbrokers"].get("/hq/BasicQot"), "the request that is stalled")
        started = time.monotonic()
        rig.close()
        assert time.monotonic() - started <= 5.0
        assert gateway_threads() == []


def test_close_without_a_connection_is_harmless() -> None:
    with Rig(start=False) as rig:
        rig.gateway.close()
        rig.gateway.close()
        assert gateway_threads() == []


def test_an_order_after_the_event_engine_stopped_is_refused() -> None:
    with Rig() as rig:
        rig.connect()
        rig.event_engine.stop()
        orderid = rig.send("IBM.SMART", Direction.LONG, 3, 50).partition(".")[2]
        tracked = rig.wait(lambda: rig.gateway.tracker.get(orderid), "the order")
        rig.wait(lambda: not tracked.active, "its refusal")
        assert "关闭" in tracked.reason
        assert "/trade/TradeEntrust" not in rig.sim.wire()["vbrokers"]
        rig.gateway.close()


def test_the_latch_file_is_owner_only() -> None:
    with Rig(password=PASSWORD) as rig:
        rig.main.connect(rig.setting(交易密码="wrong"), "VBROKERS")
        rig.wait_log("交易登录被拒绝")
        path = Path(TEMP_DIR / "vbrokers_latch.json")
        assert path.stat().st_mode & 0o077 == 0
        assert "wrong" not in path.read_text(encoding="utf-8")
