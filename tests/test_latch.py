"""The login latch: one try a wrong password, over restarts, until the settings change or a person connects."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.clock import ManualClock
from vnpy_brokerkit.credentials import Secret
from vnpy_brokerkit.latch import LoginLatch, person_connects

NOW = datetime(2026, 3, 9, 14, 30, tzinfo=timezone.utc)
SETTINGS: dict[str, str | Secret] = {
    "地址": "127.0.0.1",
    "端口": "11111",
    "环境": "测试环境",
    "交易密码": Secret("wrong-1234"),
    "AES密钥": Secret("a-key-of-24-bytes"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vn" / "vbrokers_latch.json"


def latch_at(path: Path) -> LoginLatch:
    return LoginLatch(path, ManualClock(NOW))


def test_open_at_first(path: Path) -> None:
    latch = latch_at(path)
    assert latch.closed(SETTINGS) is False
    assert latch.problem == ""
    assert not path.exists()


def test_shut_holds_over_a_restart(path: Path) -> None:
    latch_at(path).shut(SETTINGS)
    later = latch_at(path)
    assert later.closed(dict(reversed(SETTINGS.items()))) is True
    assert later.shut_at == NOW


@pytest.mark.parametrize("name", SETTINGS)
def test_any_changed_setting_opens_it_and_changing_back_does_not(path: Path, name: str) -> None:
    latch = latch_at(path)
    latch.shut(SETTINGS)
    assert latch.closed({**SETTINGS, name: "another"}) is False
    assert latch.shut_at is None
    assert latch.closed(SETTINGS) is True


def test_names_and_values_do_not_run_together(path: Path) -> None:
    latch = latch_at(path)
    latch.shut({"a": "bc"})
    assert latch.closed({"ab": "c"}) is False


def test_a_person_opens_it(path: Path) -> None:
    latch = latch_at(path)
    latch.shut(SETTINGS)
    latch.open()
    latch.open()
    assert latch.closed(SETTINGS) is False
    assert latch_at(path).closed(SETTINGS) is False


def test_the_file_tells_no_setting_and_is_salted(path: Path) -> None:
    latch = latch_at(path)
    latch.shut(SETTINGS)
    first = path.read_text("utf-8")
    for value in SETTINGS.values():
        assert (value.reveal() if isinstance(value, Secret) else value) not in first
    latch.shut(SETTINGS)
    assert path.read_text("utf-8") != first
    assert latch.closed(SETTINGS) is True
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_the_file_is_its_owners_alone(path: Path) -> None:
    latch_at(path).shut(SETTINGS)
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_holds_in_memory_where_the_disk_refuses(tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    latch = latch_at(blocked / "latch.json")
    with pytest.raises(OSError):
        latch.shut(SETTINGS)
    assert latch.closed(SETTINGS) is True


def test_a_broken_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latch_at(path).shut(SETTINGS)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        latch_at(path).shut({"other": "settings"})
    assert os.listdir(path.parent) == [path.name]
    assert latch_at(path).closed(SETTINGS) is True


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"salt":"","hash":"","shut_at":""}', b"[" * 100_000])
def test_a_corrupt_file_counts_as_open_and_is_said(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    latch = latch_at(path)
    assert latch.closed(SETTINGS) is False
    assert str(path) in latch.problem
    latch.shut(SETTINGS)
    assert latch_at(path).closed(SETTINGS) is True


@given(content=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_no_file_breaks_it(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("latch") / "latch.json"
    path.write_bytes(content)
    latch = latch_at(path)
    assert latch.closed(SETTINGS) is False
    assert latch.problem


def test_a_service_connects_once_and_a_person_again() -> None:
    assert person_connects(1) is False
    assert person_connects(2) is True
    assert person_connects(3) is True


def test_qt_is_not_imported_for_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("PySide6")]:
        monkeypatch.delitem(sys.modules, name)
    assert person_connects(1) is False
    assert not [name for name in sys.modules if name.startswith("PySide6")]


class _FakeQt:
    """Only what the question needs of PySide6, since a test machine may have no Qt libraries."""

    def __init__(self, *, main_thread: bool = True, visible: bool = True, application: bool = True) -> None:
        class ConnectDialog:
            def isVisible(self) -> bool:
                return visible

        class QApplication:
            @staticmethod
            def instance() -> object:
                return QApplication() if application else None

            @staticmethod
            def topLevelWidgets() -> list[object]:
                return [object(), ConnectDialog()]

        class QThread:
            @staticmethod
            def isMainThread() -> bool:
                return main_thread

        self.ConnectDialog, self.QApplication, self.QThread = ConnectDialog, QApplication, QThread


@pytest.mark.parametrize(
    ("qt", "person"),
    [
        (_FakeQt(), True),
        (_FakeQt(visible=False), False),
        (_FakeQt(main_thread=False), False),
        (_FakeQt(application=False), False),
    ],
)
def test_an_open_connect_dialog_is_a_person(qt: _FakeQt, person: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PySide6.QtCore", "PySide6.QtWidgets", "vnpy.trader.ui.widget"):
        monkeypatch.setitem(sys.modules, name, qt)
    assert person_connects(1) is person
