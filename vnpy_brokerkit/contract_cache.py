"""Contracts seen before, kept over restarts so that they are on the engine as soon as a gateway connects.

RPC clients learn contracts only at connect, and vn.py formats prices by them (design, section 5). Enums are written by
*name*: their values are translated, and a file written in one language could not be read in the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from vnpy.trader.constant import Exchange, OptionType, Product
from vnpy.trader.object import ContractData

from .files import write_private
from .i18n import _

SCHEMA_VERSION = 1


class _Row(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One contract on disk: vn.py's fields (prices in the contract's currency, volumes in shares or lots) and hints."""

    symbol: str
    exchange: str
    name: str
    product: str
    size: float
    pricetick: float
    min_volume: float = 1
    max_volume: float | None = None
    stop_supported: bool = False
    net_position: bool = False
    history_data: bool = False
    option_strike: float | None = None
    option_underlying: str | None = None
    option_type: str | None = None
    option_listed: datetime | None = None
    option_expiry: datetime | None = None
    option_portfolio: str | None = None
    option_index: str | None = None
    extra: dict[str, Any] | None = None
    hints: dict[str, str] = {}


class _File(msgspec.Struct):
    version: int
    contracts: list[msgspec.Raw]


class ContractCache:
    """The newest ``limit`` contracts of one gateway, in ``<folder>/<gateway name>_contracts.json``, owner-only.

    Contracts are copied in and out: others change the objects that they get. ``problem`` is the one line for the log
    after a :meth:`load` or :meth:`save` that did not go well, else ``""``; neither raises. For one thread.
    """

    def __init__(self, folder: Path, gateway_name: str, *, limit: int = 20_000) -> None:
        self.path = folder / f"{gateway_name.lower()}_contracts.json"
        self.problem = ""
        self._gateway_name = gateway_name
        self._limit = limit
        # Encoded at once: bytes cannot be changed by whoever holds the contract, and saving is a join.
        self._rows: dict[str, bytes] = {}
        self._changed = False

    def load(self) -> list[ContractData]:
        """The contracts on disk, under this gateway's name, oldest first.

        A row that cannot be read is left out; a file that cannot is set aside as ``.corrupt``.
        """
        self.problem = ""
        try:
            file = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.problem = _("合约缓存 {path} 无法读取：{error}").format(path=self.path, error=error)
            return []
        except (ValueError, RecursionError) as error:
            self._set_aside(str(error))
            return []
        if file.version != SCHEMA_VERSION:
            self._set_aside(_("版本 {version}").format(version=file.version))
            return []
        return self._read_rows(file.contracts)

    def put(self, contract: ContractData, hints: Mapping[str, str] | None = None) -> None:
        """Keep a contract, and what its plugin must know beside it. Without hints those already there stay.

        Raises TypeError when ``contract.extra`` holds what JSON cannot.
        """
        if hints is None:
            hints = self.hints(contract.vt_symbol)
        encoded = msgspec.json.encode(_row(contract, hints))
        if self._rows.pop(contract.vt_symbol, None) != encoded:
            self._changed = True
        self._rows[contract.vt_symbol] = encoded
        while len(self._rows) > self._limit:
            del self._rows[next(iter(self._rows))]

    def hints(self, vt_symbol: str) -> dict[str, str]:
        """The plugin's facts about a contract, empty where there are none."""
        encoded = self._rows.get(vt_symbol)
        return {} if encoded is None else msgspec.json.decode(encoded, type=_Row).hints

    def save(self) -> bool:
        """Write the file if anything changed since; False and ``problem`` when the disk refuses."""
        self.problem = ""
        if not self._changed:
            return True
        rows = [msgspec.Raw(encoded) for encoded in self._rows.values()]
        try:
            write_private(self.path, msgspec.json.encode(_File(version=SCHEMA_VERSION, contracts=rows)))
        except OSError as error:
            self.problem = _("合约缓存 {path} 无法写入：{error}").format(path=self.path, error=error)
            return False
        self._changed = False
        return True

    def _read_rows(self, encoded_rows: list[msgspec.Raw]) -> list[ContractData]:
        contracts = []
        for encoded in encoded_rows[-self._limit :]:
            try:
                contract = _contract(msgspec.json.decode(encoded, type=_Row), self._gateway_name)
            except (ValueError, KeyError, RecursionError):
                continue
            contracts.append(contract)
            # What was put before the file was read is newer.
            self._rows.setdefault(contract.vt_symbol, bytes(encoded))
        skipped = len(encoded_rows[-self._limit :]) - len(contracts)
        if skipped:
            self.problem = _("合约缓存 {path}：跳过 {count} 个无法识别的合约，用到时会重新查询").format(
                path=self.path, count=skipped
            )
        return contracts

    def _set_aside(self, reason: str) -> None:
        aside = self.path.with_name(f"{self.path.name}.corrupt")
        text = _("合约缓存 {path} 无法识别（{reason}），已改名为 {aside}，合约将重新查询")
        try:
            os.replace(self.path, aside)
        except OSError as error:
            text = _("合约缓存 {path} 无法识别（{reason}），也无法改名为 {aside}：{error}")
            self.problem = text.format(path=self.path, reason=reason, aside=aside.name, error=error)
            return
        self.problem = text.format(path=self.path, reason=reason, aside=aside.name)


# The fields that are the same on both sides; the others are enums, or belong to one side alone.
_PLAIN_FIELDS = (
    "symbol", "name", "stop_supported", "net_position", "history_data", "option_underlying", "option_listed",
    "option_expiry", "option_portfolio", "option_index",
)  # fmt: skip


def _row(contract: ContractData, hints: Mapping[str, str]) -> _Row:
    return _Row(
        exchange=contract.exchange.name,
        product=contract.product.name,
        option_type=contract.option_type and contract.option_type.name,
        # A Decimal would be written as text, which is not what is read back.
        size=float(contract.size),
        pricetick=float(contract.pricetick),
        min_volume=float(contract.min_volume),
        max_volume=None if contract.max_volume is None else float(contract.max_volume),
        option_strike=None if contract.option_strike is None else float(contract.option_strike),
        extra=contract.extra,
        hints=dict(hints),
        **{field: getattr(contract, field) for field in _PLAIN_FIELDS},
    )


def _contract(row: _Row, gateway_name: str) -> ContractData:
    """Raises KeyError for an enum name that this vn.py does not have."""
    contract = ContractData(
        gateway_name=gateway_name,
        exchange=Exchange[row.exchange],
        product=Product[row.product],
        option_type=None if row.option_type is None else OptionType[row.option_type],
        size=row.size,
        pricetick=row.pricetick,
        min_volume=row.min_volume,
        max_volume=row.max_volume,
        option_strike=row.option_strike,
        **{field: getattr(row, field) for field in _PLAIN_FIELDS},
    )
    contract.extra = row.extra  # vn.py's constructors do not take it
    return contract
