"""The catalogues: whole, in step with the source, and spoken by a gateway in the language of its environment."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import read_mo

from vnpy_brokers.locale import catalogue
from vnpy_brokers.rpc import RemoteGateway
from vnpy_ibkr.settings import default_setting as ibkr_setting
from vnpy_vbrokers.settings import default_setting as vbrokers_setting

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 60
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”]")

each_language = pytest.mark.parametrize("language", catalogue.LANGUAGES)


@pytest.fixture(scope="module")
def sources() -> Catalog:
    return catalogue.read_sources()


def placeholders(text: str) -> list[tuple[str, str, str]]:
    """What ``str.format`` fills in, sorted: name or number, conversion, format. ``{}`` has the number of its place."""
    found = []
    for number, (_text, name, spec, conversion) in enumerate(
        part for part in Formatter().parse(text) if part[1] is not None
    ):
        found.append((name or str(number), conversion or "", spec or ""))
    return sorted(found)


def names_on_screen() -> set[str]:
    """The settings' keys and choices, which are Chinese in every language."""
    names = set()
    for setting in (vbrokers_setting(), ibkr_setting(), RemoteGateway.default_setting):
        for key, value in setting.items():
            names |= {key.partition(" ")[0], *(value if isinstance(value, list) else ())}
    return names


def strange_characters(translation: str) -> list[str]:
    """The Chinese characters of a translation that are not a setting's key or choice in quotes."""
    rest = translation
    for name in names_on_screen():
        rest = rest.replace(f'"{name}"', "")
    return CHINESE.findall(rest)


@each_language
def test_every_text_of_the_source_is_translated_and_nothing_else(language: str, sources: Catalog) -> None:
    translations = catalogue.read_catalogue(language)
    assert catalogue.untranslated(translations) == []
    assert {m.id for m in catalogue.texts(translations)} == {m.id for m in catalogue.texts(sources)}
    assert list(translations.obsolete) == []


@each_language
def test_a_translation_fills_in_what_its_source_does(language: str) -> None:
    wrong = {
        message.id: message.string
        for message in catalogue.texts(catalogue.read_catalogue(language))
        if placeholders(str(message.id)) != placeholders(str(message.string))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("source", "translation", "same"),
    [
        ("{}在{}", "{} at {}", True),
        ("{}在{}", "{1}: {0}", True),
        ("{}在{}", "{} at", False),
        ("{:.2f}在{}", "{} at {:.2f}", False),
        ("{error!r}", "{error}", False),
        ("{path}{{}}", "{path} {{}}", True),
    ],
)
def test_placeholders_are_told_apart(source: str, translation: str, same: bool) -> None:
    assert (placeholders(source) == placeholders(translation)) is same


def test_the_english_is_english() -> None:
    wrong = {
        message.id: message.string
        for message in catalogue.texts(catalogue.read_catalogue("en"))
        if strange_characters(str(message.string))
    }
    assert wrong == {}


def test_only_quoted_names_may_be_chinese() -> None:
    assert strange_characters('set "只读" (read-only) to "否" (no)') == []
    assert strange_characters("set 只读 to no") == ["只", "读"]
    assert strange_characters('a "委托"，refused') == ["委", "托", "，"]


@each_language
def test_the_compiled_catalogue_is_the_written_one(language: str) -> None:
    written = {m.id: m.string for m in catalogue.texts(catalogue.read_catalogue(language))}
    with catalogue.catalogue_path(language, ".mo").open("rb") as file:
        compiled = {m.id: m.string for m in catalogue.texts(read_mo(file))}
    assert compiled == written


def test_a_refresh_finds_what_changed(sources: Catalog) -> None:
    before = Catalog(locale="en")
    before.add("委托{}已结束，无需撤单", "Order {} has ended already")
    before.add("这一句已经不在源代码里", "This sentence is not in the source any more")
    now = Catalog()
    now.add("委托{}已结束，不需撤单")
    now.add("“{}”")
    catalogue.refresh(before, now)
    assert catalogue.untranslated(before) == ["fuzzy: 委托{}已结束，不需撤单", "missing: “{}”"]
    assert list(before.obsolete) == []


@pytest.mark.parametrize("package", catalogue.PACKAGES)
def test_a_text_to_translate_is_written_out(package: str) -> None:
    """Extraction reads the source, so a text put together at run time would never be found."""
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in catalogue.KEYWORDS:
                plain = len(node.args) == 1 and not node.keywords
                # An attribute is a field that holds a text which N_ marked.
                allowed = (ast.Constant, ast.Attribute) if node.func.id == "_" else ast.Constant
                if not plain or not isinstance(node.args[0], allowed):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []


REFUSED_CONNECT = """
import json, queue
from vnpy.event import EventEngine
from vnpy.trader.engine import MainEngine
from vnpy.trader.event import EVENT_LOG
from vnpy_ibkr import IbkrGateway
from vnpy_vbrokers import VbrokersGateway

lines = queue.Queue()
engine = MainEngine(EventEngine())
engine.event_engine.register(EVENT_LOG, lambda event: lines.put(event.data))
engine.add_gateway(VbrokersGateway)
engine.add_gateway(IbkrGateway)
engine.connect({"端口": "none"}, "VBROKERS")
engine.connect({"TWS端口": "none"}, "IBKR")
said = {}
while len(said) < 2:
    log = lines.get(timeout=30)
    if log.gateway_name in ("VBROKERS", "IBKR"):
        said[log.gateway_name] = log.msg
engine.close()
print(json.dumps(said))
"""


@pytest.mark.parametrize(("language", "chinese"), [("en", False), ("en_GB", False), ("zh_CN", True)])
def test_a_gateway_speaks_the_language_of_its_environment(language: str, chinese: bool, tmp_path: Path) -> None:
    (tmp_path / ".vntrader").mkdir()
    setting = {"log.console": False, "log.file": False}
    (tmp_path / ".vntrader" / "vt_setting.json").write_text(json.dumps(setting), encoding="utf-8")
    child = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", REFUSED_CONNECT],
        env={**os.environ, "LANGUAGE": language, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    assert child.returncode == 0, child.stderr
    said = json.loads(child.stdout.splitlines()[-1])
    for gateway, key in (("VBROKERS", "端口"), ("IBKR", "TWS端口")):
        line = said[gateway]
        assert f'"{key}"' in line or f"“{key}”" in line
        assert "none" in line
        assert bool(strange_characters(line)) is chinese, line
