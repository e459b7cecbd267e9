"""The documents' pictures: all there, small, and taken by the command that the documents name."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="Qt's system libraries are missing", exc_type=ImportError)

from PySide6 import QtGui

from vnpy_brokers import screenshots
from vnpy_brokers.screenshots import IMAGES, LANGUAGES, PICTURES, main

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 300
MOST_BYTES = 200_000
PAGES = {"zh": "window_cn.md", "en": "window.md"}
PNG = b"\x89PNG\r\n\x1a\n"
NEEDS_FONT = "fonts-wqy-zenhei"


def names(language: str) -> set[str]:
    return {f"{picture}_{language}.png" for picture in PICTURES}


def size(picture: Path) -> tuple[int, int]:
    """Width and height, as a PNG's first part has them."""
    head = picture.read_bytes()[:24]
    assert head.startswith(PNG)
    width, height = struct.unpack(">II", head[16:24])
    return width, height


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_shows_every_picture_of_its_language_and_each_is_there(language: str) -> None:
    shown = re.findall(r"!\[[^]]+]\(images/([^)]+)\)", (ROOT / "docs" / PAGES[language]).read_text("utf-8"))
    assert sorted(shown) == sorted(names(language))
    for name in shown:
        assert (IMAGES / name).stat().st_size < MOST_BYTES
        assert min(size(IMAGES / name)) > 200


def test_no_picture_is_left_over() -> None:
    assert {path.name for path in IMAGES.iterdir()} == {name for language in LANGUAGES for name in names(language)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_command_takes_them(language: str, tmp_path: Path) -> None:
    """Beside a vn.py folder of the user's, which it leaves as it is, and from any folder."""
    folder, home, temporary = (tmp_path / name for name in ("pictures", "home", "temporary"))
    temporary.mkdir()
    (home / ".vntrader").mkdir(parents=True)
    (home / ".vntrader" / "connect_vbrokers.json").write_text('{"地址": "10.1.2.3"}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "vnpy_brokers.screenshots", str(folder), "--language", language],
        cwd=home,
        env={
            **os.environ,
            "HOME": str(home),
            "USERPROFILE": str(home),
            "TMPDIR": str(temporary),
            "TEMP": str(temporary),
        }
        | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    if NEEDS_FONT in done.stderr:
        pytest.skip("no Chinese font is installed")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in folder.iterdir()} == names(language)
    for path in folder.iterdir():
        assert path.stat().st_size < MOST_BYTES
        width, height = size(path)
        standing_width, standing_height = size(IMAGES / path.name)
        assert abs(width - standing_width) < 200
        assert abs(height - standing_height) < 100
    assert [path.name for path in (home / ".vntrader").iterdir()] == ["connect_vbrokers.json"]
    assert list(temporary.iterdir()) == []


def test_a_palette_keeps_a_rare_colour_among_many_shades() -> None:
    picture = QtGui.QImage(64, 64, QtGui.QImage.Format.Format_RGB32)
    for at in range(64 * 64):
        picture.setPixel(at % 64, at // 64, 0xFF000000 | (at % 1024 // 4) * 0x010101)
    picture.setPixel(5, 5, 0xFFFF0000)
    small = screenshots._few_colours(picture)
    assert small.colorCount() <= screenshots.COLOURS
    assert small.size() == picture.size()
    assert small.pixelColor(5, 5).name() == "#ff0000"
    for x, y in ((0, 0), (63, 63), (17, 40)):
        assert abs(small.pixelColor(x, y).red() - picture.pixelColor(x, y).red()) < 16


def test_without_qt_one_line_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")  # the command sets it, and this restores it
    monkeypatch.setattr(screenshots, "why_no_window", lambda: "libEGL.so.1: no such file")
    assert main([str(tmp_path / "pictures")]) == 2
    assert "libEGL.so.1" in capsys.readouterr().err
    assert not (tmp_path / "pictures").exists()


def test_what_the_child_says_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    failed = subprocess.CompletedProcess([], 2, stderr="no font\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: failed)
    monkeypatch.setattr(screenshots, "why_no_window", lambda: None)
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == "no font\n"
