"""Whole in one language: VN Trader's window, every dialog and page, and all lines of a scripted session.

The session runs in a child process, since the environment decides the language once. Of vn.py's own texts, those that
it leaves untranslated stand below by name.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from tests.test_locale import CHINESE, strange_characters
from vnpy_brokers.settings import DEMO_MARK
from vnpy_ibkr.settings import default_setting as ibkr_setting
from vnpy_vbrokers.settings import default_setting as vbrokers_setting

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300
DIALOG = "vnpy_brokers.connect_dialog"
PAGES = {"BrokerMonitor", "CtaStrategy", "CtaBacktester", "RpcService", "DataManager", "contract"}
PLACES = PAGES | {"window", "connect VBROKERS", "connect IBKR", "about", "settings", "question", "leaving", "stopped"}

# vn.py's apps without an English catalogue, and what else vn.py shows in Chinese everywhere.
UNTRANSLATED = {
    "RPC服务": "vnpy_rpcservice has no catalogue",
    "请求响应地址": "vnpy_rpcservice",
    "事件广播地址": "vnpy_rpcservice",
    "启动": "vnpy_rpcservice",
    "停止": "vnpy_rpcservice",
    "数据管理": "vnpy_datamanager has no catalogue",
    "刷新": "vnpy_datamanager",
    "导入数据": "vnpy_datamanager",
    "更新数据": "vnpy_datamanager",
    "下载数据": "vnpy_datamanager",
    "时间": "vnpy_datamanager, headings of bars",
    "开盘价": "vnpy_datamanager",
    "最高价": "vnpy_datamanager",
    "最低价": "vnpy_datamanager",
    "收盘价": "vnpy_datamanager",
    "成交量": "vnpy_datamanager",
    "成交额": "vnpy_datamanager",
    "持仓量": "vnpy_datamanager",
    "微软雅黑": "the default of vn.py's setting font.family",
    DEMO_MARK: "the environment's mark, the same in every language",
}
BROKERS_WORDS = ("1008 交易密码错误",)
"""What the OpenAPI Gateway itself says, in brackets, in whatever language it speaks."""

# What needs no Chinese: names that are the same in every language.
IDENTIFIER = re.compile(r"[A-Z0-9][A-Z0-9 .:+_/-]*|(VB|IB)[0-9a-z]+(-[0-9a-z]+)?|[0-9a-f]+(\.[0-9a-f]+)+")
"""Symbols, exchanges, currencies, accounts, order ids, numbers."""
ENGLISH = {
    "Export": "pyqtgraph's menu, which the page does not open",
    "Export...": "pyqtgraph's",
    "MainEngine": "the source of vn.py's lines",
    "words": "the reference that the session's orders carry",
}


def session(language: str, folder: Path) -> dict[str, Any]:
    """What a session in this language showed and said."""
    vntrader = folder / ".vntrader"
    vntrader.mkdir()
    settings = {"log.console": False, "log.file": False, "database.timezone": "Asia/Shanghai"}
    (vntrader / "vt_setting.json").write_text(json.dumps(settings), encoding="utf-8")
    limits = {"list_reads_per_second": 500, "orders_per_second": 200}
    (vntrader / "broker_limits.json").write_text(json.dumps(limits), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "tests.gui_language_child"],
        env={**os.environ, "LANGUAGE": language, "LANG": f"{language}.UTF-8", "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    assert {where for where, *_rest in found["texts"]} >= PLACES
    assert {"VBROKERS", "IBKR", "MainEngine"} <= {source for source, _line in found["logs"]}
    assert found["reasons"]
    found["lines"] = [line for _source, line in found["logs"]] + found["reasons"]
    # What goes on at the broker after the end is listed there.
    found["lines"] += [line for line in child.stderr.splitlines() if line.startswith(("VBROKERS", "IBKR"))]
    return found


def settings_names() -> set[str]:
    """The keys and choices of the connect dialogs, which are Chinese in every language."""
    names: set[str] = set()
    for setting in (vbrokers_setting(), ibkr_setting()):
        for key, value in setting.items():
            names |= {key, f"{key.removesuffix(' Password')} Password", *(value if isinstance(value, list) else ())}
    return names


def not_english(text: str, names: list[str]) -> bool:
    """Whether Chinese is left when what may stand there is taken out."""
    for setting in (vbrokers_setting(), ibkr_setting()):
        for value in setting.values():
            if isinstance(value, list):
                text = text.replace(" / ".join(value), "")  # all choices of a drop-down, as it lists them
    for name in sorted((*names, *BROKERS_WORDS), key=len, reverse=True):
        if CHINESE.search(name):
            text = text.replace(name, "")
    return bool(strange_characters(text))


def not_chinese(text: str, names: list[str]) -> bool:
    """Whether it is words, and none of them Chinese."""
    if CHINESE.search(text) or not re.search("[A-Za-z]{2,}", text):
        return False
    return not (text in ENGLISH or text in names or IDENTIFIER.fullmatch(text))


def test_what_counts_as_english_and_as_chinese() -> None:
    assert not_english("Name 腾讯", ["苹果"])
    assert not not_english("Name 苹果", ["苹果"])
    assert not_english("set 只读", [])
    assert not not_english('set "只读"', [])
    assert not_chinese("Not in time", [])
    assert not any(
        not_chinese(text, []) for text in ("IBM.SMART", "VBhocf1fskze-b", "12.5", "未连接 now", "DU1000001-USD")
    )


def test_english_is_whole(tmp_path: Path) -> None:
    found = session("en_US", tmp_path)
    names, settings = found["names"], settings_names()

    def allowed(where: str, owner: str, text: str) -> bool:
        return text in UNTRANSLATED or (owner == DIALOG and text in settings) or (where == "about" and "：" in text)

    wrong = [
        (where, owner, kind, text)
        for where, owner, kind, text in found["texts"]
        if not_english(text, names) and not allowed(where, owner, text)
    ]
    assert wrong == []
    assert [line for line in found["lines"] if not_english(line, names)] == []
    assert not any("“" in line or "{" in line for line in found["lines"])


def test_chinese_is_whole(tmp_path: Path) -> None:
    found = session("zh_CN", tmp_path)
    defaults = [str(value) for value in (*vbrokers_setting().values(), *ibkr_setting().values())]
    names = [*found["names"], *defaults]
    wrong = [
        (where, owner, kind, text)
        for where, owner, kind, text in found["texts"]
        if owner.startswith("vnpy_brokers") and not_chinese(text, names)
    ]
    assert wrong == []
    assert [line for line in found["lines"] if not CHINESE.search(line)] == []
