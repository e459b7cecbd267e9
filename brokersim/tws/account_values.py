"""The numbers of an account as TWS names them: totals in US dollars, the ledger by currency (tws-api 4.6, 6.6).

``NetLiquidationByCurrency`` is net assets in one currency, ``CashBalance`` what can be spent of it (design 6). Every
instrument is fully paid at the simulated broker: margin is the whole value of the positions, buying power is cash.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from brokersim.ledger import Ledger
from brokersim.matching import Desk
from brokersim.model import ZERO, Position
from brokersim.truth import plain

BASE = "USD"
EXCHANGE_RATES: dict[str, Decimal] = {"USD": Decimal(1), "HKD": Decimal("0.1285"), "CNY": Decimal("0.1390")}
"""US dollars for one unit of a currency: fixed at the simulated broker."""
ACCOUNT_TYPES: dict[str, str] = {"DU1000002": "IRA-ROTH", "DU1000003": "CORPORATION", "DF1000000": "", "All": ""}
USUAL_TYPE = "INDIVIDUAL"
SEGMENTS = ("", "-S", "-C")
"""Of both segments, of securities, of commodities (which hold nothing here)."""
SUMMED = frozenset(
    {
        *("NetLiquidation", "TotalCashValue", "SettledCash", "AccruedCash", "BuyingPower", "EquityWithLoanValue"),
        *(
            "PreviousEquityWithLoanValue",
            "PreviousDayEquityWithLoanValue",
            "GrossPositionValue",
            "ReqTEquity",
            "RegTEquity",
        ),
        *("ReqTMargin", "RegTMargin", "SMA", "InitMarginReq", "MaintMarginReq", "AvailableFunds", "ExcessLiquidity"),
        *("FullInitMarginReq", "FullMaintMarginReq", "FullAvailableFunds", "FullExcessLiquidity"),
        *("LookAheadInitMarginReq", "LookAheadMaintMarginReq", "LookAheadAvailableFunds"),
        "LookAheadExcessLiquidity",
    }
)
"""Amounts of money in the base currency."""
DAY_TRADES = ("DayTradesRemaining", *(f"DayTradesRemainingT+{day}" for day in range(1, 5)))
PLAIN = frozenset({"AccountType", "Cushion", "LookAheadNextChange", "HighestSeverity", "Leverage", *DAY_TRADES})
"""Values without a currency."""
SUMMARY_TAGS = SUMMED | PLAIN
LEDGER_TAG = "$LEDGER"

Row = tuple[str, str, str]
"""Key, value, currency (empty for values that are no money)."""


@dataclass(frozen=True)
class Totals:
    """One account in US dollars."""

    net: Decimal
    cash: Decimal
    gross: Decimal

    @property
    def available(self) -> Decimal:
        return self.net - self.gross


def value(ledger: Ledger, position: Position) -> Decimal:
    """A position at its last price, in the contract's currency; negative when short."""
    size = ledger.market.instruments[position.vt_symbol].size
    return ledger.market.quote(position.vt_symbol).last * position.volume * size


def to_base(ledger: Ledger, vt_symbol: str, amount: Decimal) -> Decimal:
    """An amount of an instrument's currency in US dollars."""
    return amount * EXCHANGE_RATES[ledger.market.instruments[vt_symbol].currency]


def totals(ledger: Ledger, *accounts: str) -> Totals:
    """Net assets, cash and gross value of the positions, of all these accounts together."""
    net = cash = gross = ZERO
    for account in accounts:
        for currency in ledger.cash[account]:
            funds, rate = ledger.account(account, currency), EXCHANGE_RATES[currency]
            net += funds.balance * rate
            cash += funds.cash * rate
        gross += sum((abs(to_base(ledger, one.vt_symbol, value(ledger, one))) for one in ledger.held(account)), ZERO)
    return Totals(net, cash, gross)


def tag_rows(ledger: Ledger, account: str, members: Sequence[str] = ()) -> list[Row]:
    """The account's totals under their plain keys; ``members``: whose they are, if not its own."""
    sums = totals(ledger, *(members or (account,)))
    by_tag = {
        **dict.fromkeys(SUMMED, sums.available),
        **dict.fromkeys(("NetLiquidation", "ReqTEquity", "RegTEquity"), sums.net),
        **dict.fromkeys(("EquityWithLoanValue", "PreviousEquityWithLoanValue"), sums.net),
        "PreviousDayEquityWithLoanValue": sums.net,
        **dict.fromkeys(("TotalCashValue", "SettledCash"), sums.cash),
        **dict.fromkeys(
            ("GrossPositionValue", "ReqTMargin", "RegTMargin", "InitMarginReq", "MaintMarginReq"), sums.gross
        ),
        **dict.fromkeys(("FullInitMarginReq", "FullMaintMarginReq"), sums.gross),
        **dict.fromkeys(("LookAheadInitMarginReq", "LookAheadMaintMarginReq"), sums.gross),
        "AccruedCash": ZERO,
    }
    cushion = sums.available / sums.net if sums.net > 0 else ZERO
    leverage = sums.gross / sums.net if sums.net > 0 else ZERO
    words = {
        "AccountType": ACCOUNT_TYPES.get(account, USUAL_TYPE),
        "Cushion": f"{cushion:.6f}",
        "LookAheadNextChange": "0",
        "HighestSeverity": "",
        **dict.fromkeys(DAY_TRADES, "-1"),
        "Leverage": f"{leverage:.2f}",
    }
    money = [(tag, f"{by_tag[tag]:.2f}", BASE) for tag in sorted(SUMMED)]
    return [*((tag, text, "") for tag, text in words.items()), *money]


def ledger_rows(ledger: Ledger, *accounts: str) -> list[Row]:
    """The ledger keys, for ``BASE`` and for each currency, of all these accounts together; amounts are exact."""
    by_currency: dict[str, dict[str, Decimal]] = {}
    for account in accounts:
        for currency in ledger.cash[account]:
            own = _ledger_of(ledger, account, currency)
            sums = by_currency.get(currency, {})
            by_currency[currency] = {key: amount + sums.get(key, ZERO) for key, amount in own.items()}
    keys = list(next(iter(by_currency.values())))
    base = {
        key: sum((values[key] * EXCHANGE_RATES[currency] for currency, values in by_currency.items()), ZERO)
        for key in keys
    }
    rows: list[Row] = []
    for currency, values in {"BASE": base, **by_currency}.items():
        rows.append(("Currency", currency, currency))
        rows += [(key, plain(amount), currency) for key, amount in values.items()]
        rate = Decimal(1) if currency == "BASE" else EXCHANGE_RATES[currency]
        rows.append(("ExchangeRate", plain(rate), currency))
        rows.append(("RealCurrency", BASE if currency == "BASE" else currency, currency))
    return rows


def _ledger_of(ledger: Ledger, account: str, currency: str) -> dict[str, Decimal]:
    funds = ledger.account(account, currency)
    instruments = ledger.market.instruments
    positions = [one for one in ledger.held(account) if instruments[one.vt_symbol].currency == currency]
    values = {one.vt_symbol: value(ledger, one) for one in positions}

    def of_kind(*kinds: str) -> Decimal:
        return sum((amount for name, amount in values.items() if instruments[name].kind in kinds), ZERO)

    realised = sum(
        (
            ledger.realised(account, vt_symbol)
            for vt_symbol in ledger.traded(account)
            if instruments[vt_symbol].currency == currency
        ),
        ZERO,
    )
    return {
        "CashBalance": funds.available,
        "TotalCashBalance": funds.cash,
        "AccruedCash": ZERO,
        "StockMarketValue": of_kind("stock", "etf"),
        "OptionMarketValue": of_kind("option"),
        "FutureMarketValue": of_kind("future"),
        "NetLiquidationByCurrency": funds.balance,
        "UnrealizedPnL": sum((ledger.pnl(account, name) for name in values), ZERO),
        "RealizedPnL": realised,
    }


def value_rows(ledger: Ledger, account: str, members: Sequence[str] = ()) -> list[Row]:
    """What an account subscription sends: words, totals by segment, the ledger. ``members``: the accounts that a
    virtual one stands for."""
    members = members or (account,)
    currencies = [*ledger.cash[members[0]], "BASE"]
    rows: list[Row] = [
        ("AccountCode", account, ""),
        ("AccountReady", "true", ""),
        *(("AccountOrGroup", account, currency) for currency in currencies),
    ]
    for tag, text, currency in tag_rows(ledger, account, members):
        for segment in SEGMENTS if tag not in PLAIN or tag in ("Cushion", "Leverage") else ("",):
            nothing = "0.00" if currency else "0"
            rows.append((tag + segment, nothing if segment == "-C" else text, currency))
    return [*rows, *ledger_rows(ledger, *members)]


def summary_rows(ledger: Ledger, account: str, tags: Collection[str]) -> list[Row]:
    """The rows of an account summary: the tags asked for, and the ledger of ``$LEDGER``, ``$LEDGER:EUR`` or
    ``$LEDGER:ALL``."""
    rows = [row for row in tag_rows(ledger, account) if row[0] in tags] if SUMMARY_TAGS.intersection(tags) else []
    wanted = {tag.partition(":")[2] or "BASE" for tag in tags if tag.partition(":")[0] == LEDGER_TAG}
    if wanted:
        rows += [row for row in ledger_rows(ledger, account) if "ALL" in wanted or row[2] in wanted]
    return rows


@dataclass(frozen=True)
class Profit:
    """Profit of one position or one account: of the day, of what is held, of what was closed."""

    daily: Decimal
    unrealised: Decimal
    realised: Decimal

    def __add__(self, other: Profit) -> Profit:
        return Profit(self.daily + other.daily, self.unrealised + other.unrealised, self.realised + other.realised)


def profit(desk: Desk, account: str, vt_symbol: str, since: datetime) -> Profit:
    """One position's profit in its currency; the day began at ``since`` with the previous close."""
    ledger = desk.ledger
    instrument = ledger.market.instruments[vt_symbol]
    quote = ledger.market.quote(vt_symbol)
    bought, paid = 0, ZERO
    for fill in reversed(desk.fills):
        if fill.time < since:
            break
        if (fill.account, fill.vt_symbol) == (account, vt_symbol):
            signed = fill.volume if fill.direction == "LONG" else -fill.volume
            bought, paid = bought + signed, paid + signed * fill.price
    volume = ledger.volume(account, vt_symbol)
    daily = (volume * quote.last - (volume - bought) * quote.prev_close - paid) * instrument.size
    return Profit(daily, ledger.pnl(account, vt_symbol), ledger.realised(account, vt_symbol))


def account_profit(desk: Desk, account: str, since: datetime) -> Profit:
    """The whole account's profit in US dollars."""
    total = Profit(ZERO, ZERO, ZERO)
    for vt_symbol in desk.ledger.traded(account):
        one = profit(desk, account, vt_symbol, since)
        rate = EXCHANGE_RATES[desk.ledger.market.instruments[vt_symbol].currency]
        total += Profit(one.daily * rate, one.unrealised * rate, one.realised * rate)
    return total
