"""Reading a connect dialog's values: text from VN Trader, anything from a script (design, section 6).

A drop-down is a list in ``default_setting`` whose first item is the default. Missing keys take defaults, unknown keys
are named and ignored, and a drop-down value that is not offered refuses to connect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InvalidRequest
from .i18n import _

PASSWORD_KEY = "交易密码"
PASSWORD_KEYS = ("交易密码", "交易密码 Password", "Password")
"""VN Trader masks a field by a word of its own locale; whichever was stored, the password is found."""

NO_YES = ("否", "是")
PRICE_ALIGN = ("拒绝", "向保守方向对齐")
EXTERNAL = ("显示，全撤不含", "显示，全撤包含", "不显示")
ADJUST = ("不复权", "前复权")


@dataclass(frozen=True)
class CommonSettings:
    """What the dialogs of both brokers have, checked."""

    extended: bool
    """盘前盘后: orders, and history, also outside the regular session."""
    preload: tuple[str, ...]
    """vt_symbols in any spelling."""
    read_only: bool
    align: bool
    """A price off the tick grid is moved to the cautious side instead of refused."""
    show_external: bool
    cancel_external: bool
    """全撤 means orders that were placed elsewhere, too."""
    forward_adjusted: bool


def common_setting() -> dict[str, Any]:
    """Return the keys with which both dialogs end, 盘前盘后 apart, in the dialog's order."""
    return {
        "预加载合约": "",
        "只读": list(NO_YES),
        "价格对齐": list(PRICE_ALIGN),
        "外部委托": list(EXTERNAL),
        "K线复权": list(ADJUST),
    }


def password_key() -> str:
    """Return the key to show for the password, so that VN Trader masks it in a Chinese and in an English locale.

    VN Trader masks a field whose name holds *its* translation of 密码 (reference "vnpy-engine", trap 9).
    """
    from vnpy.trader.locale import _ as vnpy_text

    word = str(vnpy_text("密码"))
    return PASSWORD_KEY if word in PASSWORD_KEY else f"{PASSWORD_KEY} Password"


class Reader:
    """Takes values out of one setting dict; remembers which keys were asked for."""

    def __init__(self, setting: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._setting = setting
        self._defaults = defaults
        self._asked: set[str] = set()

    def _raw(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self._setting.get(key, default)
        return default if value is None else value

    def text(self, *keys: str) -> str:
        """Return the first of these keys that is there, as text without outer blanks."""
        self._asked.update(keys)
        for key in keys:
            value = self._setting.get(key)
            if value not in (None, ""):
                return str(value).strip()
        return str(next((self._defaults[k] for k in keys if k in self._defaults), "")).strip()

    def secret(self, *keys: str) -> str:
        """Return a password exactly as typed: blanks may belong to it."""
        self._asked.update(keys)
        return next((str(self._setting[k]) for k in keys if self._setting.get(k) not in (None, "")), "")

    def choice(self, key: str, offered: Sequence[str]) -> str:
        """Return a drop-down's value. Raises :class:`InvalidRequest` for one that is not offered."""
        value = self._raw(key, offered[0])
        if isinstance(value, (list, tuple)):
            value = value[0] if value else ""
        if value not in offered:
            raise InvalidRequest(
                _("“{}”的值“{}”无效，未连接；请在连接窗口重新选择：{}").format(
                    key, value, " / ".join(_("“{}”").format(text) for text in offered)
                )
            )
        return str(value)

    def port(self, key: str) -> int:
        """Return a TCP port. Raises :class:`InvalidRequest` for a number that is none."""
        value = self._raw(key, self._defaults[key])
        try:
            port = int(str(value).strip())
        except ValueError:
            port = -1
        if not 0 < port < 65536:
            raise InvalidRequest(_("“{}”的值“{}”不是有效端口（1-65535），未连接；请修改").format(key, value))
        return port

    def host(self, key: str) -> str:
        """Return a host name or address, this machine's for a blank. Raises :class:`InvalidRequest` for odd text."""
        host = self.text(key) or "127.0.0.1"
        if any(c.isspace() or c in "/@?#" for c in host) or not _can_be_looked_up(host):
            raise InvalidRequest(_("“{}”的值“{}”不是主机名或IP，未连接；请修改").format(key, host))
        return host

    def common(self) -> CommonSettings:
        """Return what both dialogs have. Raises :class:`InvalidRequest` for a value that is not offered."""
        external = self.choice("外部委托", EXTERNAL)
        preload = self.text("预加载合约").replace("，", ",").replace(";", ",")
        return CommonSettings(
            extended=self.choice("盘前盘后", NO_YES) == "是",
            preload=tuple(item.strip() for item in preload.split(",") if item.strip()),
            read_only=self.choice("只读", NO_YES) == "是",
            align=self.choice("价格对齐", PRICE_ALIGN) != "拒绝",
            show_external=external != "不显示",
            cancel_external=external == "显示，全撤包含",
            forward_adjusted=self.choice("K线复权", ADJUST) == "前复权",
        )

    def unknown(self) -> list[str]:
        """Return the keys that nobody asked for."""
        return sorted(str(key) for key in self._setting if key not in self._asked)


def _can_be_looked_up(host: str) -> bool:
    """Whether Python can write the name as the resolver takes it: an empty or an endless part it cannot."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True
