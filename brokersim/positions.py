"""Opening positions as a file or a caller writes them (``--positions``).

A list of rows, or ``{"vbrokers": [rows], "tws": [rows]}``; a row is a position of ``GET /state`` (fields that do not
matter here, such as ``last``, are passed over), and in a list it may name its broker, which else its account tells.
"""

from __future__ import annotations

import msgspec

from brokersim.half import BadCall, Number, OpeningPosition, decimal

IBKR_ACCOUNT_PREFIX = "DU"
"""What the simulated TWS's account ids begin with (design 7); every other account is VBrokers'."""


class _Row(msgspec.Struct, frozen=True):
    account: str
    vt_symbol: str
    volume: Number
    price: Number
    broker: str = ""


_Rows = list[_Row] | dict[str, list[_Row]]


def parse(data: bytes) -> tuple[OpeningPosition, ...]:
    """The positions of a JSON text; :class:`BadCall` in one line when it is none."""
    try:
        return _opening(msgspec.json.decode(data, type=_Rows))
    except msgspec.DecodeError as error:
        raise BadCall(f"positions: {error}") from error


def convert(rows: object) -> tuple[OpeningPosition, ...]:
    """The same from Python's own lists and dictionaries."""
    try:
        return _opening(msgspec.convert(rows, _Rows))
    except msgspec.ValidationError as error:
        raise BadCall(f"positions: {error}") from error


def _opening(rows: _Rows) -> tuple[OpeningPosition, ...]:
    if isinstance(rows, list):
        return tuple(_position(row, row.broker or _broker_of(row.account)) for row in rows)
    return tuple(_position(row, broker) for broker, listed in rows.items() for row in listed)


def _position(row: _Row, broker: str) -> OpeningPosition:
    volume = decimal(row.volume, "volume")
    if volume != int(volume):
        raise BadCall(f"positions: volume must be a whole number, not {row.volume}")
    return OpeningPosition(broker, row.account, row.vt_symbol, int(volume), row.price)


def _broker_of(account: str) -> str:
    return "tws" if account.startswith(IBKR_ACCOUNT_PREFIX) else "vbrokers"
