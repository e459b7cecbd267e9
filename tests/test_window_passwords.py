"""A typed trading password: out of VN Trader's file at once, into the keychain after the first good login."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from vnpy.trader.utility import TEMP_DIR, save_json

from tests.harness import Rig
from tests.test_credentials import DictKeychain, MissingKeychain
from vnpy_vbrokers.access import KEYCHAIN_SERVICE, PASSWORD_VARIABLE

PASSWORD = "S3cret-交易-Pass"
FILE = "connect_vbrokers.json"
IN_MEMORY = "密码只保存在内存中"
REFUSED = "交易登录被拒绝"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    for name in (FILE, "connect_ibkr.json", "vbrokers_latch.json"):
        (TEMP_DIR / name).unlink(missing_ok=True)
    yield
    for name in (FILE, "connect_ibkr.json", "vbrokers_latch.json"):
        (TEMP_DIR / name).unlink(missing_ok=True)


@pytest.fixture
def keychain(monkeypatch: pytest.MonkeyPatch) -> DictKeychain:
    keychain = DictKeychain()
    monkeypatch.setattr(keyring, "get_keyring", lambda: keychain)
    return keychain


@pytest.fixture
def _no_keychain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "get_keyring", MissingKeychain)


def place(rig: Rig) -> tuple[str, str]:
    setting = rig.setting()
    return KEYCHAIN_SERVICE, f"{setting['地址']}:{setting['端口']}"


def press(rig: Rig, **changes: Any) -> None:
    """What VN Trader's dialog does: the file first, then connect()."""
    setting = rig.setting(**changes)
    save_json(FILE, setting)
    rig.main.connect(setting, "VBROKERS")


def ready(rig: Rig, times: int) -> None:
    rig.wait(lambda: sum("合约信息查询成功" in line for line in rig.seen.log_lines()) == times, f"ready {times}")


@pytest.mark.parametrize("key", ["交易密码", "交易密码 Password"])
def test_connect_takes_the_password_out_of_the_file_before_it_returns(key: str, keychain: DictKeychain) -> None:
    with Rig(password=PASSWORD) as rig:
        setting = {**rig.setting(), "旧键": "7"}
        del setting["交易密码"]
        setting[key] = PASSWORD
        save_json(FILE, setting)
        rig.main.connect(setting, "VBROKERS")
        path = TEMP_DIR / FILE
        assert json.loads(path.read_text("utf-8")) == {**setting, key: ""}
        if sys.platform != "win32":
            assert path.stat().st_mode & 0o777 == 0o600
        assert setting[key] == PASSWORD  # the caller's own
        ready(rig, 1)
        rig.wait(lambda: keychain.held == {place(rig): PASSWORD}, "the keychain")


def test_it_goes_to_the_keychain_after_the_first_good_login_and_serves_the_next(keychain: DictKeychain) -> None:
    with Rig(password=PASSWORD) as rig:
        press(rig, 交易密码=PASSWORD)
        ready(rig, 1)
        rig.wait(lambda: keychain.held, "the keychain")
        press(rig, 交易密码="")
        ready(rig, 2)
        rig.sim.faults([{"broker": "vbrokers", "do": "expire"}])
        rig.wait_log("重新登录")
    with Rig(password=PASSWORD) as later:
        keychain.held[place(later)] = PASSWORD  # another port, the same keychain
        press(later, 交易密码="")
        ready(later, 1)
    assert keychain.writes == 1
    assert not [line for line in rig.seen.log_lines() if IN_MEMORY in line]


def test_a_refused_password_goes_to_no_keychain_and_is_not_remembered(keychain: DictKeychain) -> None:
    with Rig(password=PASSWORD) as rig:
        press(rig, 交易密码="wrong")
        rig.wait_log(REFUSED)
        press(rig, 交易密码="")
        rig.wait_log("没有密码")
        assert keychain.writes == 0
        assert rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == 1


def test_a_password_that_was_changed_at_the_broker(keychain: DictKeychain) -> None:
    with Rig(password=PASSWORD) as rig:
        keychain.held[place(rig)] = "of last year"
        press(rig, 交易密码="")
        line = rig.wait_log(REFUSED)
        assert "系统钥匙串" in line
        assert "交易密码" in line
        again = rig.add("VBROKERS2")  # a service that starts again: no second try, and the same remedy
        rig.main.connect(rig.setting(交易密码=""), "VBROKERS2")
        assert "系统钥匙串" in rig.wait_log("不再自动重试")
        assert again.connects == 1
        assert rig.sim.wire()["vbrokers"]["/trade/TradeLogin"] == 1
        press(rig, 交易密码=PASSWORD)
        ready(rig, 1)
        rig.wait(lambda: keychain.held == {place(rig): PASSWORD}, "the new one")


def test_a_refused_password_of_the_environment_names_the_variable(
    keychain: DictKeychain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    with Rig(password=PASSWORD) as rig:
        press(rig, 交易密码="")
        assert PASSWORD_VARIABLE in rig.wait_log(REFUSED)
        assert not keychain.held


@pytest.mark.usefixtures("_no_keychain")
def test_without_a_keychain_it_stays_in_memory_and_one_line_says_so() -> None:
    with Rig(password=PASSWORD) as rig:
        press(rig, 交易密码=PASSWORD)
        assert PASSWORD_VARIABLE in rig.wait_log(IN_MEMORY)
        ready(rig, 1)
        for times in (2, 3):
            press(rig, 交易密码="")
            ready(rig, times)
        rig.wait(lambda: rig.gateway.session.orders is not None, "the session")
        lines = rig.seen.log_lines()
        assert sum(IN_MEMORY in line for line in lines) == 1
        shown = repr(rig.seen.events) + repr(vars(rig.gateway)) + repr(vars(rig.gateway.session))
        assert PASSWORD not in shown.replace(repr(rig.gateway.secrets), "")
    for file in TEMP_DIR.rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file


@pytest.mark.usefixtures("_no_keychain")
def test_the_embedded_simulator_asks_nobody_and_its_file_is_emptied_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyring, "get_keyring", lambda: pytest.fail("the keychain was asked"))
    with Rig(start=False) as rig:
        setting = {"环境": "内置模拟", "交易密码": PASSWORD}
        save_json(FILE, setting)
        rig.main.connect(setting, "VBROKERS")
        assert json.loads((TEMP_DIR / FILE).read_text("utf-8")) == {**setting, "交易密码": ""}
        ready(rig, 1)
        assert rig.gateway.passwords.get("127.0.0.1:11111") is None
        assert not [line for line in rig.seen.log_lines() if IN_MEMORY in line or PASSWORD in line]


@pytest.mark.parametrize(
    "old",
    [
        {"环境": "测试环境"},
        {"环境": "测试环境", "端口": "{port}", "推送端口": " {push} ", "地址": None, "市场": "港股"},
        {"环境": "测试环境", "预加载合约": "700.HK，AAPL", "只读": "否", "去年的键": "1", "bool": "True"},
    ],
)
def test_settings_of_an_older_version_connect(old: dict[str, Any], keychain: DictKeychain) -> None:
    with Rig(password=PASSWORD) as rig:
        now = rig.setting()
        numbers = {"port": now["端口"], "push": now["推送端口"]}
        setting = {"端口": now["端口"], "推送端口": now["推送端口"], "Password": PASSWORD}
        setting |= {key: value.format(**numbers) if isinstance(value, str) else value for key, value in old.items()}
        rig.main.connect(setting, "VBROKERS")
        ready(rig, 1)
        unknown = sorted({"去年的键", "bool"} & set(old))
        assert [line for line in rig.seen.log_lines() if "忽略不认识的设置项" in line and "Password" in line] == []
        assert bool(unknown) is any("去年的键" in line for line in rig.seen.log_lines())
        rig.wait(lambda: PASSWORD in keychain.held.values(), "the keychain")


def test_a_broken_file_is_said_and_connects_all_the_same(keychain: DictKeychain) -> None:
    path: Path = TEMP_DIR / FILE
    path.write_text('{"交易密码": "x', "utf-8")
    with Rig(password=PASSWORD) as rig:
        rig.main.connect(rig.setting(交易密码=PASSWORD), "VBROKERS")
        assert str(path) in rig.wait_log("不是有效的JSON")
        ready(rig, 1)
