"""The connect dialog of IBKR, its ports, and the interlock between live and paper."""

from __future__ import annotations

from typing import Any

import pytest

from vnpy_brokerkit.errors import InvalidRequest
from vnpy_ibkr.settings import candidate_ports, default_setting, interlock, read_settings

# Design, section 6: once shipped, keys are never renamed.
KEYS = [
    "环境",
    "TWS地址",
    "TWS端口",
    "客户号",
    "交易账户",
    "账户类型",
    "行情类型",
    "延迟行情下单",
    "盘前盘后",
    "有效期",
    "预加载合约",
    "只读",
    "价格对齐",
    "外部委托",
    "K线复权",
]


def test_the_dialog_has_the_documented_keys_and_defaults() -> None:
    defaults = default_setting()
    assert list(defaults) == KEYS
    assert defaults["环境"] == ["内置模拟", "模拟盘", "实盘"]
    assert (defaults["TWS端口"], defaults["客户号"], defaults["交易账户"]) == (7497, 1, "")
    assert defaults["行情类型"] == ["实时，无权限时延迟", "实时", "延迟"]
    assert not any(isinstance(value, bool) for value in defaults.values())


@pytest.mark.parametrize("setting", [{}, default_setting(), dict.fromkeys(KEYS)])
def test_missing_keys_lists_and_none_take_the_defaults(setting: dict[str, Any]) -> None:
    settings = read_settings(setting)
    assert settings.embedded
    assert (settings.host, settings.port, settings.client_id, settings.account) == ("127.0.0.1", 7497, 1, "")
    assert (settings.account_kind, settings.data_type, settings.tif) == ("普通", 3, "DAY")
    assert (settings.show_external, settings.cancel_external) == (True, False)
    assert not any(
        (settings.extended, settings.read_only, settings.align, settings.forward_adjusted, settings.unknown_keys)
    )
    assert not settings.delayed_orders_allowed


def test_values_as_vn_trader_stores_them() -> None:
    settings = read_settings(
        {
            "环境": "实盘",
            "TWS地址": " tws.local ",
            "TWS端口": "0",
            "客户号": "0",
            "交易账户": " U1234567 ",
            "账户类型": "IRA",
            "行情类型": "实时",
            "延迟行情下单": "允许",
            "盘前盘后": "是",
            "有效期": "撤单前有效",
            "预加载合约": "AAPL.SMART， 700.SEHK;ES-202612-USD-FUT.CME,",
            "只读": "是",
            "价格对齐": "向保守方向对齐",
            "外部委托": "不显示",
            "K线复权": "前复权",
            "旧键": "x",
        }
    )
    assert (settings.host, settings.port, settings.client_id, settings.account) == ("tws.local", 0, 0, "U1234567")
    assert (settings.account_kind, settings.data_type, settings.tif) == ("IRA", 1, "GTC")
    assert settings.delayed_orders_allowed
    assert settings.extended
    assert settings.read_only
    assert settings.align
    assert settings.forward_adjusted
    assert not settings.show_external
    assert not settings.cancel_external
    assert settings.preload == ("AAPL.SMART", "700.SEHK", "ES-202612-USD-FUT.CME")
    assert settings.unknown_keys == ("旧键",)
    assert settings.world == "实盘|tws.local:0|U1234567"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("环境", ""),
        ("环境", "测试环境"),
        ("TWS地址", "http://x"),
        ("TWS地址", "a b"),
        ("TWS地址", "127.0.0..1"),
        ("TWS地址", "."),
        ("TWS地址", "x" * 64 + ".com"),
        ("TWS端口", "x"),
        ("TWS端口", 70000),
        ("TWS端口", -1),
        ("客户号", "-1"),
        ("客户号", "１"),
        ("客户号", 2**31),
        ("账户类型", ""),
        ("行情类型", "快照"),
        ("有效期", "GTC"),
        ("外部委托", "显示"),
    ],
)
def test_a_value_that_cannot_be_meant_refuses_to_connect_in_words(key: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_settings({key: value})
    assert key in caught.value.text
    assert str(value) in caught.value.text


@pytest.mark.parametrize(
    ("environment", "port", "ports"),
    [
        ("模拟盘", 0, (7497, 4002)),
        ("实盘", 0, (7496, 4001)),
        ("实盘", 7497, (7497,)),
        ("模拟盘", 5000, (5000,)),
    ],
)
def test_port_0_looks_for_those_that_fit(environment: str, port: int, ports: tuple[int, ...]) -> None:
    assert candidate_ports(read_settings({"环境": environment, "TWS端口": port})) == ports


@pytest.mark.parametrize(
    ("environment", "port", "accounts", "locked_by"),
    [
        ("模拟盘", 7497, ["DU1"], ""),
        ("模拟盘", 4002, ["DU1", "DF2"], ""),
        ("模拟盘", 7497, ["U1"], "U1"),
        ("模拟盘", 7497, ["DU1", "F2"], "F2"),
        ("模拟盘", 7496, ["DU1"], "7496"),
        ("模拟盘", 4001, ["DU1"], "4001"),
        ("模拟盘", 5000, ["DU1"], ""),
        ("实盘", 7496, ["U1"], ""),
        ("实盘", 4001, ["U1", "I2"], ""),
        ("实盘", 7496, ["DU1"], "DU1"),
        ("实盘", 7497, ["U1"], "7497"),
        ("实盘", 5000, ["U1"], ""),
        ("内置模拟", 7497, ["DU1000001"], ""),
        ("内置模拟", 7496, ["DU1000001"], ""),
        ("内置模拟", 7497, ["U1"], "U1"),
        ("实盘", 0, ["U1"], ""),
    ],
)
def test_the_interlock_names_what_contradicts(environment: str, port: int, accounts: list[str], locked_by: str) -> None:
    reason = interlock(read_settings({"环境": environment, "TWS端口": port}), accounts)
    assert bool(reason) == bool(locked_by)
    assert locked_by in reason
    assert not reason or ("只读" in reason and environment in reason)


def test_the_interlock_looks_at_the_port_that_was_found() -> None:
    settings = read_settings({"环境": "实盘", "TWS端口": 0})
    assert interlock(settings, ["U1"], 4001) == ""
    assert "7497" in interlock(settings, ["U1"], 7497)
