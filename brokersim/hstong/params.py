"""Reading a request's ``params``: required ones, enums, numbers as number or text (vbrokers-openapi 2.1, 2.3, 17).

A missing parameter is 2001, a wrong one 1016. Fields outside ``params`` are not looked at, as the contract says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from brokersim.hstong.codes import CONDITIONAL_TYPES, MARKETS, GatewayError, MarketCode

_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,8})?")
MAX_IDS = 100


@dataclass(frozen=True)
class Security:
    """What names an instrument in market data (4.1)."""

    data_type: int
    code: str

    def row(self) -> dict[str, object]:
        return {"dataType": self.data_type, "code": self.code}


class Params:
    """The parameters of one request."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Is the parameter there, with something in it."""
        return self._values.get(name) not in (None, "")

    def text(self, name: str, default: str | None = None) -> str:
        """A scalar as text; 2001 when it is missing and has no default."""
        if not self.has(name):
            if default is None:
                raise GatewayError("2001", f"缺少参数 {name}")
            return default
        value = self._values[name]
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise GatewayError("1016", f"参数无效 {name}")
        return str(value)

    def choice(self, name: str, allowed: Collection[str], default: str | None = None) -> str:
        """A scalar that must be one of ``allowed``, case and all."""
        value = self.text(name, default)
        if value not in allowed:
            raise GatewayError("1016", f"参数无效 {name}")
        return value

    def number(self, name: str, default: str | None = None) -> Decimal:
        """A decimal, from a number or a numeric text."""
        value = self.text(name, default)
        if not _NUMBER.fullmatch(value):
            raise GatewayError("1016", f"参数无效 {name}")
        return Decimal(value)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        value = self.number(name, None if default is None else str(default))
        if value != int(value) or not low <= value <= high:
            raise GatewayError("1016", f"参数无效 {name}")
        return int(value)

    def day(self, name: str) -> date:
        """A date written yyyyMMdd, as text or number."""
        value = self.text(name)
        try:
            return datetime.strptime(value, "%Y%m%d").date()  # noqa: DTZ007 - a calendar date has no zone
        except ValueError as error:
            raise GatewayError("1016", f"参数无效 {name}") from error

    def market(self) -> MarketCode:
        """``exchangeType``; its letters are case sensitive (4.1)."""
        return MARKETS[self.choice("exchangeType", MARKETS)]

    def securities(self, name: str = "security") -> list[Security]:
        """An array of Security; a single object counts as one (17, item 9)."""
        value = self._values.get(name)
        if value is None or value == []:
            raise GatewayError("2001", f"缺少参数 {name}")
        rows = value if isinstance(value, list) else [value]
        return [_security(row, name) for row in rows]

    def security(self, name: str = "security") -> Security:
        """A single Security object."""
        value = self._values.get(name)
        if value is None:
            raise GatewayError("2001", f"缺少参数 {name}")
        return _security(value, name)

    def ids(self, name: str) -> list[str]:
        """An array of order ids, empty when missing; more than 100 are refused (7.6)."""
        value = self._values.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_IDS or not all(isinstance(one, (str, int)) for one in value):
            raise GatewayError("1016", f"参数无效 {name}")
        return [str(one) for one in value]

    def conditional(self, market: MarketCode) -> bool:
        """Does ``entrustType`` name a conditional order of this market (9.1)."""
        return self.text("entrustType", "") in CONDITIONAL_TYPES[market.exchange_type]


def _security(value: object, name: str) -> Security:
    if not isinstance(value, dict):
        raise GatewayError("1016", f"参数无效 {name}")
    fields = Params(value)
    return Security(fields.integer("dataType", 0, 99_999), fields.text("code"))
