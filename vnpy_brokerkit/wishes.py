"""Which instruments the user's own settings name: strategies and recorders, by vn.py's files.

They need their contracts before the line 合约信息查询成功: a strategy's start asks for them (design, section 5).
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

_T = TypeVar("_T")

CTA_FILE = "cta_strategy_setting.json"
RECORDER_FILE = "data_recorder_setting.json"


class _Strategy(msgspec.Struct):
    vt_symbol: str = ""


class _Recorder(msgspec.Struct):
    tick: dict[str, object] = {}
    bar: dict[str, object] = {}


def symbols_in_use(folder: Path) -> list[str]:
    """Return the vt_symbols, as written there, of the CTA strategies and of the recorder in vn.py's folder.

    A file that is missing or cannot be read counts as empty: it is vn.py's, which complains by itself.
    """
    found: dict[str, None] = {}
    strategies = _read(folder / CTA_FILE, dict[str, _Strategy]) or {}
    for strategy in strategies.values():
        if strategy.vt_symbol:
            found[strategy.vt_symbol] = None
    recorder = _read(folder / RECORDER_FILE, _Recorder) or _Recorder()
    found.update(dict.fromkeys((*recorder.tick, *recorder.bar)))
    return list(found)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
