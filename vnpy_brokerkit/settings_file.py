"""VN Trader's file of a gateway's connect settings: its owner's alone, and without the password.

VN Trader writes what was typed to ``connect_<gateway>.json`` in its folder, readable by everybody, before it calls
connect() (reference "vnpy-engine", section 1). What a person wrote into the file by hand is theirs: everything but the
password's value stays, byte by byte.

Windows knows no owner's mode bits: there the file stays as readable as the user's profile folder makes it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from .files import write_private
from .i18n import _

_BLANKS = re.compile(r"[ \t\r\n]*")
_BYTE_ORDER_MARK = "\ufeff"
_EMPTY = ('""', "null")


def protect(path: Path, secret_keys: Iterable[str]) -> str:
    """Make the settings file its owner's alone and blank the values of ``secret_keys`` in it; returns one line or "".

    The line says what could not be done and what to do. A file that is not there is no problem. The new file replaces
    the old one in one step; where nothing is to be blanked the old one stays, with its time. Raises nothing.
    """
    try:
        path = path.resolve()  # a link stays a link
        content = path.read_bytes()
    except FileNotFoundError:
        return ""
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a ring
        return _failed(path, error)
    try:
        cleaned = blank_values(content, frozenset(secret_keys))
    except (ValueError, RecursionError):
        cleaned = None
    try:
        if cleaned is not None and cleaned != content:
            write_private(path, cleaned)
        elif os.name != "nt" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
    except OSError as error:
        return _failed(path, error)
    if cleaned is None:
        return _("连接设置文件{}不是有效的JSON，其中若有密码无法清除；请改正或删除该文件").format(path)
    return ""


def _failed(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return _("无法保护连接设置文件{}（{}），其中若有密码请手动清除").format(path, reason)


def blank_values(content: bytes, keys: frozenset[str]) -> bytes:
    """``content``, a JSON object in UTF-8, with ``""`` for each value of ``keys`` on its first level.

    All other bytes stay, also where a key stands twice. Raises ValueError for what is no JSON object.
    """
    text = content.decode("utf-8")
    decoder = json.JSONDecoder()
    pieces: list[str] = []
    kept_to = 0
    at = _after_blanks(text, 1 if text.startswith(_BYTE_ORDER_MARK) else 0)
    at = _expect(text, at, "{")
    if text[at : at + 1] == "}":
        return content
    while True:
        if text[at : at + 1] != '"':
            raise ValueError(f"a key expected at {at}")
        key, at = decoder.raw_decode(text, at)
        at = _expect(text, _after_blanks(text, at), ":")
        _value, end = decoder.raw_decode(text, at)
        if key in keys and text[at:end] not in _EMPTY:
            pieces += [text[kept_to:at], '""']
            kept_to = end
        at = _after_blanks(text, end)
        if text[at : at + 1] == "}":
            break
        at = _expect(text, at, ",")
    return "".join([*pieces, text[kept_to:]]).encode("utf-8")


def _after_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    assert match is not None  # it matches the empty text too
    return match.end()


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"{sign!r} expected at {at}")
    return _after_blanks(text, at + 1)
