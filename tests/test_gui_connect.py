"""The connect dialogs, and a trader's day in the window: connect, buy, be refused, lose the broker, have it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

import keyring
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot
from vnpy.trader.ui.widget import ConnectDialog
from vnpy.trader.utility import TEMP_DIR

from tests.gui_desk import CLASSES, Desk, desk, fill, press
from tests.test_credentials import DictKeychain
from vnpy_brokers.connect_dialog import PrivateConnectDialog

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "S3cret-交易-Pass"
IBM = "IBM.SMART"
ECHO = QtWidgets.QLineEdit.EchoMode


@pytest.fixture
def keychain(monkeypatch: pytest.MonkeyPatch) -> DictKeychain:
    keychain = DictKeychain()
    monkeypatch.setattr(keyring, "get_keyring", lambda: keychain)
    return keychain


@pytest.fixture
def it(qtbot: QtBot, keychain: DictKeychain) -> Iterator[Desk]:
    with desk(qtbot, password=PASSWORD) as made:
        made.sim.pause()
        yield made


def saved(name: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((TEMP_DIR / f"connect_{name.lower()}.json").read_text("utf-8"))
    return held


def shown(dialog: ConnectDialog) -> dict[str, str]:
    """What the fields of a dialog show."""
    texts: dict[str, str] = {}
    for name, (field, _kind) in dialog.widgets.items():
        if isinstance(field, QtWidgets.QComboBox):
            texts[name] = field.currentText()
        elif isinstance(field, QtWidgets.QLineEdit):
            texts[name] = field.text()
    return texts


def opened(it: Desk, name: str) -> dict[str, str]:
    """What the dialog shows when it is opened."""
    found: dict[str, str] = {}
    it.dialog(name, lambda dialog: found.update(shown(dialog)))
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_every_setting_is_there_saved_and_read_back(it: Desk, name: str, keychain: DictKeychain) -> None:
    defaults: dict[str, Any] = dict(CLASSES[name].default_setting)
    first = opened(it, name)
    assert first == {key: str(value[0] if isinstance(value, list) else value) for key, value in defaults.items()}
    changes: dict[str, Any] = {key: value[-1] for key, value in defaults.items() if isinstance(value, list)}
    changes |= {"环境": it.setting(name)["环境"], "只读": "否", "预加载合约": "IBM.SMART"}
    if name == "VBROKERS":
        changes["交易密码"] = PASSWORD
        changes["市场"] = "港股+美股"
    else:
        changes["账户类型"] = "普通"
    it.connect(name, **changes)
    again = opened(it, name)
    expected = {**first, **{key: str(value) for key, value in it.setting(name, **changes).items()}}
    assert again == {key: "" if key == "交易密码" else value for key, value in expected.items()}
    assert {key: str(value) for key, value in saved(name).items()} == again
    if sys.platform != "win32":
        assert (TEMP_DIR / f"connect_{name.lower()}.json").stat().st_mode & 0o777 == 0o600


def test_the_password_is_masked_kept_from_the_disk_and_needed_once(it: Desk, keychain: DictKeychain) -> None:
    def type_it(dialog: ConnectDialog) -> None:
        field, _kind = dialog.widgets["交易密码"]
        assert isinstance(field, QtWidgets.QLineEdit)
        assert field.echoMode() is ECHO.Password
        fill(dialog, it.setting("VBROKERS", 交易密码=PASSWORD))
        press(dialog)
        assert PASSWORD.encode() not in (TEMP_DIR / "connect_vbrokers.json").read_bytes()

    it.dialog("VBROKERS", type_it)
    it.wait_log("合约信息查询成功")
    it.wait(lambda: list(keychain.held.values()) == [PASSWORD], "the keychain")
    it.dialog("VBROKERS", press)
    it.wait(lambda: it._ready("VBROKERS") == 2, "connected by the keychain's")
    assert not [row for row in it.rows("日志") if PASSWORD in row["信息"]]


def test_a_wrong_password_is_named_and_a_person_may_try_again(it: Desk, keychain: DictKeychain) -> None:
    def with_password(password: str) -> None:
        def type_it(dialog: ConnectDialog) -> None:
            fill(dialog, it.setting("VBROKERS", 交易密码=password))
            press(dialog)

        it.dialog("VBROKERS", type_it)

    with_password("wrong")
    assert "交易密码" in it.wait_log("交易登录被拒绝")
    with_password(PASSWORD)
    it.wait_log("合约信息查询成功")


OLD_FILES: list[tuple[str, dict[str, str]]] = [
    ('{"环境": "测试环境", "端口": "11999"}', {"环境": "测试环境", "端口": "11999", "市场": "港股+美股"}),
    ('{"端口": 11998, "地址": null, "市场": 3}', {"端口": "11998", "地址": "", "市场": "", "环境": "内置模拟"}),
    ('{"环境": ["测试环境", "实盘"], "旧键": "x", "只读": "没有这一项"}', {"环境": "测试环境", "只读": ""}),
    ('\ufeff{"交易密码 Password": "x", "推送端口": 5.0}', {"推送端口": "5.0", "交易密码": "x"}),
    ("{", {"环境": "内置模拟", "端口": "11111"}),
    ("[1]", {"环境": "内置模拟"}),
    ("", {"环境": "内置模拟"}),
]


@pytest.mark.parametrize(("content", "expected"), OLD_FILES)
def test_files_of_other_versions_and_hands_open(it: Desk, content: str, expected: dict[str, str]) -> None:
    (TEMP_DIR / "connect_vbrokers.json").write_text(content, "utf-8")
    dialog = PrivateConnectDialog(it.engine, "VBROKERS")
    texts = shown(dialog)
    assert {key: texts[key] for key in expected} == expected
    assert set(texts) == set(CLASSES["VBROKERS"].default_setting)
    labels = cast("list[QtWidgets.QLabel]", dialog.findChildren(QtWidgets.QLabel))
    assert any("无法读取" in label.text() for label in labels) is (content in ("{", "[1]", ""))
    dialog.deleteLater()


def test_keys_of_another_version_stay_in_the_file(it: Desk) -> None:
    it.connect("IBKR")
    path = TEMP_DIR / "connect_ibkr.json"
    path.write_text(json.dumps({**saved("IBKR"), "明年的键": "7"}), "utf-8")
    it.connect("IBKR")
    assert saved("IBKR")["明年的键"] == "7"


@pytest.mark.parametrize(("language", "name"), [("zh_CN", "交易密码"), ("en", "交易密码 Password")])
@pytest.mark.parametrize("dialog", ["ConnectDialog", "PrivateConnectDialog"])
def test_the_password_is_masked_in_both_locales(tmp_path: Path, language: str, name: str, dialog: str) -> None:
    (tmp_path / ".vntrader").mkdir()
    program = f"""
from PySide6 import QtWidgets
app = QtWidgets.QApplication([])
from vnpy.event import EventEngine
from vnpy.trader.ui.widget import ConnectDialog
from vnpy_brokers.connect_dialog import PrivateConnectDialog
from vnpy_brokers.trader import TraderEngine
engine = TraderEngine(EventEngine())
engine.add_gateways(["VBROKERS"])
dialog = {dialog}(engine, "VBROKERS")
hidden = [name for name, (field, kind) in dialog.widgets.items()
          if isinstance(field, QtWidgets.QLineEdit) and field.echoMode() is QtWidgets.QLineEdit.EchoMode.Password]
engine.close()
assert hidden == [{name!r}], hidden
"""
    environment = {**os.environ, "LANGUAGE": language, "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")


# ------------------------------------------------------------------ a day


@pytest.mark.parametrize("name", CLASSES)
def test_a_day_in_the_window(it: Desk, name: str, tmp_path: Path) -> None:
    broker = {"VBROKERS": "vbrokers", "IBKR": "tws"}[name]
    it.quote(IBM, 100, 0.01)
    it.connect(name, **({"交易密码": PASSWORD} if name == "VBROKERS" else {}))
    if name == "IBKR":  # whose quotes are VBROKERS' while both are there
        it.connect("VBROKERS", 交易密码=PASSWORD)
    it.type_symbol("SMART", "ibm")
    it.wait(lambda: it.depth()[0] == ("99.99", "1000", "100.01", "1000"), "the book")

    it.order("多", "100", "100.01", gateway=name)
    it.wait(lambda: it.held(IBM)[broker] == 100, "the purchase at the broker")
    it.wait(lambda: sum(float(row["数量"]) for row in it.rows("成交")) == 100, "the fill")
    it.wait(lambda: [row["状态"] for row in it.rows("委托")] == ["全部成交"], "the order's end")

    it.order("多", "10", "99.50", gateway=name)
    it.wait(lambda: [row["状态"] for row in it.rows("活动")] == ["未成交"], "the order that rests")
    it.press("全撤")
    it.wait(lambda: it.rows("活动") == [], "the cancel")
    assert [row["status"] for row in it.sim.state()[broker]["orders"]] == ["ALLTRADED", "CANCELLED"]

    it.order("多", "10", "100.003", gateway=name)
    line = it.wait_log("被拒绝", "100.003")
    assert line.strip()
    it.wait(lambda: "拒单" in {row["状态"] for row in it.rows("委托")}, "the refused order")

    it.order("多", "5", "99.40", gateway=name)
    it.wait(lambda: [row["状态"] for row in it.rows("活动")] == ["未成交"], "the order that outlives the outage")
    it.sim.faults([{"broker": broker, "do": "restart", "for_s": 1}])
    it.wait_log("已恢复")
    it.quote(IBM, 101, 0.01)
    it.wait(lambda: it.depth()[0] == ("100.99", "1000", "101.01", "1000"), "quotes again")
    it.double_click("持仓", "数量", 代码="IBM", 接口=name)
    assert it.form()["price"] == "100.99"
    it.press("委托")
    it.wait(lambda: it.held(IBM)[broker] == 0, "the sale")
    it.press("全撤")
    it.wait(lambda: it.rows("活动") == [], "nothing left")
    statuses = [row["status"] for row in it.sim.state()[broker]["orders"]]
    assert statuses == ["ALLTRADED", "CANCELLED", "CANCELLED", "ALLTRADED"]
    if "GUI_SHOTS" in os.environ:
        it.window.grab().save(str(Path(os.environ["GUI_SHOTS"]) / f"day_{name}.png"))
