"""Other spellings of instruments in the user's own settings (design, section 5).

A CTA strategy or a recorder knows its instrument by the vt_symbol that stands in its settings, and asks vn.py's tables
by exactly that. So what is written there as ``AAPL-USD-STK.SMART`` or ``700.SEHK`` gets a contract and ticks under that
spelling, beside the canonical one; orders, trades and positions have the canonical one alone.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import TypeVar

from vnpy.trader.constant import Exchange
from vnpy.trader.object import ContractData, TickData
from vnpy.trader.utility import TEMP_DIR

from .i18n import _
from .symbols import SymbolError
from .wishes import CTA_FILE, RECORDER_FILE, symbols_in_use

Key = tuple[str, Exchange]
_Data = TypeVar("_Data", ContractData, TickData)


class Aliases:
    """The spellings of one gateway, read again when the files change. ``log`` gets a line for what vn.py cannot use.

    ``spelled`` gives the key of a text ``SYMBOL.EXCHANGE``, ``None`` for what is none of the gateway's, and may raise
    :class:`SymbolError`.
    """

    def __init__(
        self, spelled: Callable[[str], Key | None], log: Callable[[str], None], folder: Path = TEMP_DIR
    ) -> None:
        self._spelled = spelled
        self._log = log
        self._folder = folder
        self._stamp: tuple[object, ...] = ()
        self._by_key: dict[Key, list[Key]] = {}
        self._told: set[str] = set()

    def renew(self) -> bool:
        """Read the settings if they were written since; return whether they were. Two looks at the disk."""
        stamp = tuple(_stamp(self._folder / name) for name in (CTA_FILE, RECORDER_FILE))
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._by_key = {}
        for written in symbols_in_use(self._folder):
            try:
                key = self._spelled(written)
            except SymbolError:
                continue
            alias = _usable(written)
            if key is None:
                continue
            if alias is None:
                self._tell(written, key)
            elif alias not in self._by_key.setdefault(key, []):
                self._by_key[key].append(alias)
        return True

    def of(self, key: Key, *others: Key) -> list[Key]:
        """The spellings in use of an instrument, beside its own; ``others`` are what else it goes by here."""
        return [alias for one in (key, *others) for alias in self._by_key.get(one, ()) if alias != key]

    def _tell(self, written: str, key: Key) -> None:
        if written not in self._told:
            self._told.add(written)
            text = _("设置里的合约“{}”不能使用：vn.py要求代码不含点，后缀是它的交易所名；请改写为“{}.{}”")
            self._log(text.format(written, key[0], key[1].value))


def respelled(data: _Data, alias: Key) -> _Data:
    """Return a copy of a contract or tick under another spelling; ``extra["canonical"]`` has its own vt_symbol."""
    other = copy(data)
    other.symbol, other.exchange = alias
    other.extra = {**(data.extra or {}), "canonical": data.vt_symbol}
    other.vt_symbol = f"{alias[0]}.{alias[1].value}"
    return other


def _usable(written: str) -> Key | None:
    """What vn.py makes of a vt_symbol; ``None`` where its apps stumble over it."""
    symbol, _dot, exchange = written.rpartition(".")
    if not symbol or "." in symbol or exchange not in {one.value for one in Exchange}:
        return None
    return symbol, Exchange(exchange)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
