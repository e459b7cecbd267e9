"""The pages that people read, against what they tell of: the tables, the settings, the command lines."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from vnpy.trader.constant import Exchange

from brokersim.__main__ import _parser as simulator_parser
from tests.test_locale import strange_characters
from vnpy_brokerkit import errors
from vnpy_brokerkit.guard import LIMITS_FILE, Limits
from vnpy_brokerkit.routes import ROUTES_FILE
from vnpy_brokers import pages
from vnpy_brokers.demo import PLANS
from vnpy_brokers.options import _parser as door_parser
from vnpy_brokers.settings import GATEWAYS, gateway_class
from vnpy_ibkr.errors import CODES as TWS_CODES
from vnpy_ibkr.errors import order_effect
from vnpy_ibkr.spelling import spelling, to_query
from vnpy_vbrokers.errors import CODES

ROOT = Path(__file__).resolve().parent.parent
FIRST_LINES = '```\npip install -e . && python run.py --demo\npip install -e ".[test]" && pytest\n```\n'

each_page = pytest.mark.parametrize("name", pages.PAGES)
each_readme = pytest.mark.parametrize("name", ["README.md", "README_CN.md"])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@each_page
def test_a_page_is_what_the_tables_make(name: str) -> None:
    assert read(f"docs/{name}") == pages.troubleshooting(pages.PAGES[name]), "run python -m vnpy_brokers.pages"


def code_rows(name: str) -> list[list[str]]:
    """The rows of a page's tables that are about codes, both brokers' below each other."""
    rows = [line.strip("| ").split(" | ") for line in read(f"docs/{name}").splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0].replace(", ", "").isdigit()]


@each_page
def test_a_page_has_a_full_row_for_every_code(name: str) -> None:
    rows = code_rows(name)
    listed = [code for row in rows for code in row[0].split(", ")]
    assert listed == [entry.code for entry in CODES] + [str(entry.code) for entry in TWS_CODES]
    assert {len(row) for row in rows} == {len(pages.PAGES[name].columns)}
    assert all(all(cell.strip() for cell in row) for row in rows)


@each_page
def test_codes_share_a_row_only_where_all_of_it_holds(name: str) -> None:
    for entries in pages.tws_groups():
        assert len({(entry.meaning, entry.gateway_does, entry.user_does, entry.kind) for entry in entries}) == 1
        assert len({order_effect(entry.code) for entry in entries}) == 1
    shared = next(row for row in code_rows(name) if "10147" in row[0])
    assert shared[0] == "135, 10147"


def test_a_row_says_what_becomes_of_an_order() -> None:
    fates = {code: row[3] for row in code_rows("troubleshooting.md") for code in row[0].split(", ")}
    assert [fates[code] for code in ("201", "202", "399", "10148", "382", "110", "162")] == [
        "refused",
        "cancelled",
        "lives on",
        "cancel or change failed",
        "TWS is asked",
        "refused; once accepted: cancel or change failed",
        "–",
    ]


def test_the_english_page_is_english() -> None:
    wrong = [line for line in read("docs/troubleshooting.md").splitlines() if strange_characters(line)]
    assert wrong == ["[中文](troubleshooting_cn.md)"]


def test_the_tree_is_whole() -> None:
    there = {kind for _name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Exception)}
    walked = [kind for _depth, kind in pages.error_tree()]
    assert set(walked) == there
    assert len(walked) == len(there)
    assert (2, errors.TimedOut) in pages.error_tree()


def test_no_chinese_docstring_is_left_over() -> None:
    docstrings = {inspect.getdoc(kind) for _depth, kind in pages.error_tree()}
    assert set(pages.DOCSTRING2CHINESE) == docstrings


@each_readme
def test_the_two_commands_come_first(name: str) -> None:
    assert read(name).startswith(FIRST_LINES)


def setting_rows(text: str, gateway: str) -> dict[str, str]:
    """The rows of the settings' table of one gateway, by the keys in their first cell."""
    headings = [line for line in text.splitlines() if line.startswith("## ") and gateway in line]
    assert len(headings) == 1, headings
    section = text.partition(f"{headings[0]}\n")[2].partition("\n## ")[0]
    rows: dict[str, str] = {}
    for line in section.splitlines():
        if line.startswith("| "):
            rows |= dict.fromkeys(line.split("|")[1].strip().split(" / "), line)
    return rows


@each_readme
@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_readme_names_every_setting_and_choice(name: str, gateway: str) -> None:
    rows = setting_rows(read(name), gateway)
    missing = []
    for key, value in gateway_class(gateway).default_setting.items():
        row = rows.get(key.removesuffix(" Password"), "")
        if isinstance(value, list):
            missing += [f"{key}: {choice}" for choice in value if f"`{choice}`" not in row]
        elif not row or (value and f"`{value}`" not in row and "AES" not in key):
            missing.append(key)
    assert missing == []


@each_readme
def test_a_readme_names_what_the_demo_trades(name: str) -> None:
    text = read(name)
    introduction = text.partition("\n## ")[0]
    traded = [trade.vt_symbol.partition(".")[0] for plan in PLANS.values() for trade in plan.trade]
    assert traded
    assert [symbol for symbol in traded if symbol not in introduction] == []


@each_readme
def test_the_symbols_of_a_readme_are_canonical(name: str) -> None:
    """A vt_symbol in the tables of symbols is spelt as the gateway itself spells it, and TWS can be asked for it."""
    tables = [part.partition("\n\n")[0] for part in read(name).split("| vt_symbol |")[1:]]
    lines = [line for table in tables for line in table.splitlines()[1:]]
    written = [symbol for line in lines for symbol in re.findall("`([^`]+)`", line.split("|")[2])]
    assert {"AAPL.SMART", "EUR-USD-CASH.IDEALPRO", "AAPL-20261218-C-152_5-100-USD-OPT.SMART"} <= set(written)
    for vt_symbol in written:
        symbol, _dot, exchange = vt_symbol.rpartition(".")
        key = symbol, Exchange(exchange)
        assert spelling(*key) == key
        assert to_query(*key) is not None


@each_readme
def test_a_readme_names_every_limit_with_its_default(name: str) -> None:
    text = read(name)
    defaults = Limits()
    assert f"`{LIMITS_FILE}`" in text
    assert f"`{ROUTES_FILE}`" in text
    for key in Limits.__struct_fields__:
        assert f"| `{key}` | `{getattr(defaults, key)}` |" in text


@each_readme
@pytest.mark.parametrize("parser", [door_parser, simulator_parser])
def test_a_readme_names_every_option(name: str, parser: Callable[[], argparse.ArgumentParser]) -> None:
    options = {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}
    missing = {option for option in options if not re.search(rf"{re.escape(option)}(?![\w-])", read(name))}
    assert missing == {"--help"}


@each_readme
def test_a_link_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", read(name))
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
