"""The rows of ``GET /state``: orders, trades, positions, accounts and cash as design 7 says, numbers as decimal
strings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from brokersim.ledger import Ledger
from brokersim.model import Fill, Order, Position


def plain(number: Decimal) -> str:
    """A decimal string without exponent and without trailing zeros."""
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def order_row(order: Order) -> dict[str, str]:
    return {
        "id": order.id,
        "account": order.account,
        "vt_symbol": order.vt_symbol,
        "direction": order.direction,
        "type": order.type,
        "price": plain(order.price),
        "volume": str(order.volume),
        "traded": str(order.traded),
        "status": order.status,
        "reference": order.reference,
    }


def trade_row(fill: Fill) -> dict[str, str]:
    return {
        "id": fill.id,
        "order_id": fill.order_id,
        "account": fill.account,
        "vt_symbol": fill.vt_symbol,
        "direction": fill.direction,
        "price": plain(fill.price),
        "volume": str(fill.volume),
        "time": fill.time.isoformat(),
    }


def ledger_part(ledger: Ledger) -> dict[str, Any]:
    """Positions (those of volume 0 left out), accounts and cash of one ledger."""
    return {
        "positions": [_position_row(ledger, position) for position in ledger.positions.values() if position.volume],
        "accounts": [
            _account_row(ledger, account, currency) for account in ledger.cash for currency in ledger.cash[account]
        ],
        "cash": {
            account: {currency: plain(amount) for currency, amount in sums.items()}
            for account, sums in ledger.cash.items()
        },
    }


def _position_row(ledger: Ledger, position: Position) -> dict[str, str]:
    return {
        "account": position.account,
        "vt_symbol": position.vt_symbol,
        "volume": str(position.volume),
        "price": plain(position.price),
        "last": plain(ledger.market.quote(position.vt_symbol).last),
        "pnl": plain(ledger.pnl(position.account, position.vt_symbol)),
    }


def _account_row(ledger: Ledger, account: str, currency: str) -> dict[str, str]:
    funds = ledger.account(account, currency)
    return {
        "account": account,
        "currency": currency,
        "balance": plain(funds.balance),
        "frozen": plain(funds.frozen),
        "available": plain(funds.available),
    }
