"""The pages that people read, against what they tell of: the tables, the settings, the command lines."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from brokersim.__main__ import _parser as simulator_parser
from vnpy_brokerkit import errors
from vnpy_brokerkit.guard import LIMITS_FILE, Limits
from vnpy_brokers import pages
from vnpy_brokers.options import _parser as door_parser
from vnpy_vbrokers.errors import CODES
from vnpy_vbrokers.session import ROUTES_FILE
from vnpy_vbrokers.settings import default_setting

ROOT = Path(__file__).resolve().parent.parent
FIRST_LINES = '```\npip install -e . && python run.py --demo\npip install -e ".[test]" && pytest\n```\n'
HAN = re.compile("[\u4e00-\u9fff]")

each_page = pytest.mark.parametrize("name", pages.PAGES)
each_readme = pytest.mark.parametrize("name", ["README.md", "README_CN.md"])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@each_page
def test_a_page_is_what_the_tables_make(name: str) -> None:
    assert read(f"docs/{name}") == pages.troubleshooting(pages.PAGES[name]), "run python -m vnpy_brokers.pages"


@each_page
def test_a_page_has_a_full_row_for_every_code(name: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in read(f"docs/{name}").splitlines() if line.startswith("| ")]
    codes = [row for row in rows if row[0].isdigit()]
    assert [row[0] for row in codes] == [entry.code for entry in CODES]
    assert {len(row) for row in codes} == {len(pages.PAGES[name].columns)}
    assert all(all(cell.strip() for cell in row) for row in codes)


def test_the_english_page_is_english() -> None:
    wrong = [line for line in read("docs/troubleshooting.md").splitlines() if HAN.search(line)]
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


@each_readme
def test_a_readme_names_every_setting_and_choice(name: str) -> None:
    text = read(name)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    missing = []
    for key, value in default_setting().items():
        row = next((line for keys, line in rows.items() if key.removesuffix(" Password") in keys.split(" / ")), "")
        if isinstance(value, list):
            missing += [f"{key}: {choice}" for choice in value if f"`{choice}`" not in row]
        elif not row:
            missing.append(key)
    assert missing == []


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
