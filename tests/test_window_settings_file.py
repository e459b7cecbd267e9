"""VN Trader's file of connect settings: what is taken out of it, and what is not touched."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.settings import PASSWORD_KEYS
from vnpy_brokerkit.settings_file import blank_values, protect

KEYS = frozenset(PASSWORD_KEYS)
WORD = 'pw "8#中\\'
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "connect_vbrokers.json"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("key", PASSWORD_KEYS)
def test_the_password_goes_and_everything_else_stays(path: Path, key: str) -> None:
    old = json.dumps({"环境": "测试环境", "端口": 11111, key: WORD, "旧键": [1, {key: "nested"}]}, indent=4)
    path.write_bytes(old.encode())
    assert protect(path, PASSWORD_KEYS) == ""
    new = path.read_bytes().decode()
    assert new == old.replace(json.dumps(WORD), '""', 1)
    assert os.listdir(path.parent) == [path.name]


@posix_only
def test_the_file_becomes_its_owners_alone(path: Path) -> None:
    for content in ('{"交易密码": "x"}', '{"TWS端口": 7497}', "{", "{}"):
        path.write_text(content, "utf-8")
        path.chmod(0o644)
        protect(path, PASSWORD_KEYS)
        assert mode(path) == 0o600, content


def test_a_file_without_a_password_is_not_written(path: Path) -> None:
    path.write_text('{"交易密码": "",  "交易密码 Password": null}', "utf-8")
    os.utime(path, ns=(1, 1))
    inode = path.stat().st_ino
    assert protect(path, PASSWORD_KEYS) == ""
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (1, inode)


def test_no_file_is_no_problem(path: Path) -> None:
    assert protect(path, PASSWORD_KEYS) == ""
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"a" 1}', b"[" * 100_000, b'{"a": 1', b'"x"'])
def test_a_file_that_is_no_json_object_is_said_and_left(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert str(path) in protect(path, PASSWORD_KEYS)
    assert path.read_bytes() == content


def test_a_disk_that_refuses_is_said_without_the_password(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(json.dumps({"交易密码": "S3cret"}), "utf-8")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    line = protect(path, PASSWORD_KEYS)
    assert "No space left" in line
    assert "S3cret" not in line
    assert os.listdir(path.parent) == [path.name]


@posix_only
def test_a_link_stays_a_link(tmp_path: Path, path: Path) -> None:
    target = tmp_path / "elsewhere.json"
    target.write_text('{"交易密码": "x"}', "utf-8")
    path.symlink_to(target)
    assert protect(path, PASSWORD_KEYS) == ""
    assert path.is_symlink()
    assert target.read_text("utf-8") == '{"交易密码": ""}'
    path.unlink()
    path.symlink_to(path)
    assert str(path) in protect(path, PASSWORD_KEYS)


def test_a_byte_order_mark_repeated_keys_and_numbers() -> None:
    text = '\ufeff { "交易密码" : 123456 , "a":1,"\\u4ea4易密码":"again","b":{"交易密码":"c"} } '
    expected = '\ufeff { "交易密码" : "" , "a":1,"\\u4ea4易密码":"","b":{"交易密码":"c"} } '
    assert blank_values(text.encode(), KEYS).decode() == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    held=st.dictionaries(st.text() | st.sampled_from(PASSWORD_KEYS), values, max_size=6),
    indent=st.sampled_from([None, 0, 4]),
    ascii_only=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_settings_keep_all_but_the_password(held: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(held, indent=indent, ensure_ascii=ascii_only)
    content = text.encode("utf-8", "surrogatepass")
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate is no UTF-8
        with pytest.raises(ValueError):
            blank_values(content, KEYS)
        return
    cleaned = json.loads(blank_values(content, KEYS))
    assert list(cleaned) == list(held)
    for key, value in held.items():
        assert cleaned[key] == ("" if key in KEYS and value is not None else value)


@given(content=st.binary(max_size=80) | st.text(alphabet='{}[]:,"ab\\ 1', max_size=30).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_content_breaks_it(content: bytes) -> None:
    try:
        cleaned = blank_values(content, frozenset({"a"}))
    except ValueError:
        return
    assert len(cleaned) <= len(content) + 2 * content.count(b'"')
