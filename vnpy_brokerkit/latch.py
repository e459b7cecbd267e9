"""The login latch: a wrong password is tried once, also by a service that restarts every minute.

A broker locks an account after a few wrong passwords. So a refused login shuts the latch for exactly these settings;
it stays shut over restarts and opens by changed settings, or when a person connects (design, section 3).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from .clock import Clock
from .credentials import Secret
from .files import write_private
from .i18n import _

# scrypt's cost: 8 MiB and some 20 ms a try, so that the few digits of a trading password are not read off the hash.
_COST = {"n": 2**13, "r": 8, "p": 1}
_SALT_BYTES = 16
_HASH_BYTES = 32

Settings = Mapping[str, str | Secret]


class _Record(msgspec.Struct, frozen=True):
    """What stands on disk: never a setting itself."""

    salt: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * _SALT_BYTES}}}$")]
    hash: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{2 * _HASH_BYTES}}}$")]
    shut_at: Annotated[datetime, msgspec.Meta(tz=True)]

    def matches(self, settings: Settings) -> bool:
        return hmac.compare_digest(self.hash, _digest(settings, bytes.fromhex(self.salt)))


class LoginLatch:
    """Remembers in the file ``path`` the settings that the broker refused, as a salted hash.

    ``problem`` is the one line for the log when the file could not be read (the latch then counts as open), else
    ``""``. ``shut_at`` tells, after :meth:`closed` said yes, when it was shut (aware, UTC). For one thread.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.problem = ""
        self.shut_at: datetime | None = None
        self._path = path
        self._clock = clock
        # Also in memory: a full disk must not turn one try into many.
        self._shut_here: _Record | None = None

    def closed(self, settings: Settings) -> bool:
        """Whether the broker refused exactly these settings: names to texts, the order of no account."""
        # Mostly the two are one record, and hashing is dear on purpose.
        for record in dict.fromkeys((self._shut_here, self._read())):
            if record is not None and record.matches(settings):
                self.shut_at = record.shut_at
                return True
        self.shut_at = None
        return False

    def shut(self, settings: Settings) -> None:
        """Shut for these settings. It holds in this process even where the file cannot be written (raises OSError)."""
        salt = os.urandom(_SALT_BYTES)
        self._shut_here = _Record(salt=salt.hex(), hash=_digest(settings, salt), shut_at=self._clock.now())
        write_private(self._path, msgspec.json.encode(self._shut_here))

    def open(self) -> None:
        """Forget the refusal, since a person connects. Raises OSError where the file cannot be removed."""
        self._shut_here = None
        self._path.unlink(missing_ok=True)

    def _read(self) -> _Record | None:
        self.problem = ""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Record)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            text = _("登录锁文件 {path} 无法读取（{error}），按未锁处理；可以删除它")
            self.problem = text.format(path=self._path, error=error)
            return None


def _digest(settings: Settings, salt: bytes) -> str:
    plain = {name: value.reveal() if isinstance(value, Secret) else value for name, value in settings.items()}
    # JSON keeps names and values apart: {"a": "bc"} and {"ab": "c"} must differ.
    text = json.dumps(sorted(plain.items()))
    return hashlib.scrypt(text.encode(), salt=salt, dklen=_HASH_BYTES, **_COST).hex()


def person_connects(gateway_connect_count: int) -> bool:
    """Whether a person made this ``connect()``; the count says which one of this process it is, from 1.

    Yes when a connect dialog of VN Trader is open, or from the second ``connect()`` on: a service calls it once, only
    a person calls it again (design, section 3). Qt is never imported for this, nor touched outside its own thread.
    """
    return gateway_connect_count >= 2 or _connect_dialog_is_open()


def _connect_dialog_is_open() -> bool:
    core, widgets = sys.modules.get("PySide6.QtCore"), sys.modules.get("PySide6.QtWidgets")
    vntrader = sys.modules.get("vnpy.trader.ui.widget")
    if core is None or widgets is None or vntrader is None:
        return False
    if not isinstance(widgets.QApplication.instance(), widgets.QApplication) or not core.QThread.isMainThread():
        return False
    return any(
        isinstance(widget, vntrader.ConnectDialog) and widget.isVisible()
        for widget in widgets.QApplication.topLevelWidgets()
    )
