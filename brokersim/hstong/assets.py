"""Funds, holdings, buying power, rates and rights (vbrokers-openapi 7.5, 7.8 to 7.10).

The account is a cash account: no credit, no short sale.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from brokersim.hstong.backend import ACCOUNT, Backend
from brokersim.hstong.codes import (
    CONDITIONAL_TYPES,
    MARKETS,
    ORDER_TYPES,
    GatewayError,
    MarketCode,
    money_text,
    price_text,
    wire_code,
)
from brokersim.hstong.params import Params
from brokersim.model import Fill, Instrument, Position
from brokersim.truth import plain

RATES_TO_HKD: dict[str, Decimal] = {"HKD": Decimal(1), "USD": Decimal("7.82"), "CNY": Decimal("1.09")}
"""What one unit is worth in HKD: indicative, and the same every day."""
RATE_PLACES = Decimal("0.0001")
SPOT_TYPES = frozenset({"0", "1"})
CURRENCY_OF_VARIANT = {"Hk": "HKD", "Us": "USD", "Cn": "CNY"}
STOCK_TYPES = {"stock": "0", "etf": "1"}
ZERO_MONEY = "0.00"


class Assets:
    """The asset routes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.routes: dict[str, Callable[[Params], object]] = {
            "/trade/TradeQueryMarginFundInfo": self.funds,
            "/trade/TradeQueryHoldsList": self.holdings,
            "/trade/TradeQueryMaxAvailableAsset": self.max_available,
            "/trade/TradeQueryMarginFullInfo": self.margin_info,
            "/trade/TradeQueryBeforeAndAfterSupport": self.extended_support,
            "/hs/rate/queryList": self.rates,
        }

    def funds(self, params: Params) -> object:
        """The funds in one market's currency; the two mainland markets share one pot (7.9)."""
        market = params.market()
        funds = self._backend.ledger.account(ACCOUNT, market.currency)
        available, held = money_text(funds.available), money_text(funds.held_for_orders)
        marked = money_text(funds.balance - funds.cash)
        return {
            "assetBalance": money_text(funds.balance),
            "enableBalance": available,
            "cashOnHold": held,
            "frozenBalance": held,
            "fetchBalance": money_text(max(funds.available, Decimal(0))),
            "creditValue": ZERO_MONEY,
            "creditLine": ZERO_MONEY,
            "currentCreditLimit": ZERO_MONEY,
            "maxCreditLimit": ZERO_MONEY,
            "unitCreditLimit": ZERO_MONEY,
            "unitMaxCreditLimit": ZERO_MONEY,
            "buyPower": available,
            "buyPowerCredit": available,
            "buyPowerMoney": available,
            "buyPowerShortMarket": ZERO_MONEY,
            **self._buy_power_variants(),
            "spentRatio": ZERO_MONEY,
            "accountStatus": "0",
            "marketValue": marked,
            "holdsBalance": marked,
        }

    def holdings(self, params: Params) -> object:
        """What is held in one market (7.8)."""
        if not params.has("exchangeType") and self._backend.switches.holds_without_market == "all":
            markets = list(MARKETS.values())
        else:
            markets = [params.market()]
        rows = [
            self._holding_row(position, market)
            for market in markets
            for position in self._backend.ledger.positions.values()
            if position.account == ACCOUNT and position.volume and self._backend.market_of(position.vt_symbol) is market
        ]
        return {"holdsList": rows}

    def max_available(self, params: Params) -> object:
        """How much can be bought and sold at a price (7.5)."""
        market = params.market()
        code = params.text("stockCode")
        params.choice("entrustType", ORDER_TYPES[market.exchange_type].keys() | CONDITIONAL_TYPES[market.exchange_type])
        price = params.number("entrustPrice")
        instrument = self._tradable(code, market)
        price = price if price > 0 else self._backend.market.quote(instrument.vt_symbol).last
        spendable = self._backend.ledger.spendable(ACCOUNT, instrument.currency)
        lots = max(Decimal(0), spendable) // (price * instrument.size * instrument.lot)
        buyable = str(int(lots) * instrument.lot)
        held = self._backend.ledger.volume(ACCOUNT, instrument.vt_symbol)
        fields = {
            "positionStatus": "1" if held > 0 else "0",
            "position": str(held),
            "longOpenAvailable": buyable,
            "longCloseAvailable": str(self._backend.ledger.sellable(ACCOUNT, instrument.vt_symbol)),
            "cashAvailableToOpen": buyable,
            "marginAvailableToOpen": "0",
            "cashAndMarginAvailableToOpen": buyable,
            "cashAvailableAmount": buyable,
            "marginAvailableAmount": "0",
            "cashAndMarginAvailableAmount": buyable,
            "shortOpenAvailable": "0",
            "shortCloseAvailable": "0",
            "shortCloseCashAvailable": "0",
            "shortOpenPool": "0",
            "shortBuyPower": ZERO_MONEY,
            "contractSize": plain(instrument.size),
            "unitedBuyPowerStatus": "0",
            "creditLimit": ZERO_MONEY,
            "optionLongMarginAmount": ZERO_MONEY,
            "optionShortMarginAmount": ZERO_MONEY,
        }
        return {"data": fields} if self._backend.switches.max_asset_shape == "nested" else fields

    def margin_info(self, params: Params) -> object:
        """Margin terms of a security: none is granted to a cash account (7.10)."""
        code, wanted = params.text("stockCode"), params.integer("dataType", 0, 99_999)
        if self._backend.directory.security(code, wanted) is None:
            raise GatewayError("1016", f"证券代码不存在 {code}")
        return {
            "marginAllow": "0",
            "marginInitRatio": "1",
            "marginKeepRatio": "1",
            "shortAllow": "0",
            "shortInitMarginRatio": "0",
            "shortInterestRate": "0",
            "shortKeepMarginRatio": "0",
            "shortLastAvailableQty": "0",
            "rate": [
                {"currencyCode": currency, "currencyDesc": currency, "interestRateWithinMortgage": "0"}
                for currency in RATES_TO_HKD
            ],
        }

    def extended_support(self, params: Params) -> object:
        """Does a security trade before and after the regular session: US stocks and ETFs do (7.10)."""
        market = params.market()
        instrument = self._tradable(params.text("stockCode"), market)
        return {"data": "1" if market.exchange_type == "P" and instrument.kind in STOCK_TYPES else "0"}

    def rates(self, params: Params) -> object:
        """Exchange rates, from -> to -> rate (7.10); spot and exchange rates are the same here."""
        params.choice("rateType", SPOT_TYPES, "0")
        return {
            source: {target: str(_rate(source, target)) for target in RATES_TO_HKD if target != source}
            for source in RATES_TO_HKD
        }

    # -- inside ------------------------------------------------------------------------------------------------

    def _tradable(self, code: str, market: MarketCode) -> Instrument:
        instrument = self._backend.directory.tradable(code, market)
        if instrument is None:
            raise GatewayError("1016", f"证券代码不存在 {code}")
        return instrument

    def _buy_power_variants(self) -> dict[str, str]:
        available = {
            variant: money_text(self._backend.ledger.account(ACCOUNT, currency).available)
            for variant, currency in CURRENCY_OF_VARIANT.items()
        }
        return {
            f"{kind}{variant}": text for variant, text in available.items() for kind in ("buyPower", "unitedBuyPower")
        } | {f"thirdBuyPower{variant}": ZERO_MONEY for variant in available}

    def _holding_row(self, position: Position, market: MarketCode) -> dict[str, Any]:
        backend = self._backend
        instrument = backend.instrument(position.vt_symbol)
        last = backend.market.quote(position.vt_symbol).last
        value = last * position.volume * instrument.size
        cost = position.price * position.volume * instrument.size
        today = backend.today(market)
        fills = [
            fill
            for fill in backend.desk.fills
            if fill.vt_symbol == position.vt_symbol and backend.broker_day(fill.time, market) == today
        ]
        suffix = ".US" if market.exchange_type == "P" and backend.switches.us_suffix else ""
        return {
            "stockCode": wire_code(instrument) + suffix,
            "stockName": instrument.name,
            "exchangeType": market.exchange_type,
            "currentAmount": str(position.volume),
            "enableAmount": str(backend.ledger.sellable(ACCOUNT, position.vt_symbol)),
            "costPrice": price_text(position.price),
            "keepCostPrice": price_text(position.price),
            "dayCostPrice": price_text(_average(fills)),
            "dayInComeAmount": str(sum(fill.volume for fill in fills if fill.direction == "LONG")),
            "dayOutComeAmount": str(sum(fill.volume for fill in fills if fill.direction == "SHORT")),
            "lastPrice": price_text(last),
            "marketValue": money_text(value),
            "incomeBalance": money_text(value - cost),
            "marketValueRate": "0.00",
            "incomeRatio": money_text((value - cost) / cost * 100) if cost else "0.00",
            "stockType": STOCK_TYPES.get(instrument.kind, "0"),
        }


def _average(fills: list[Fill]) -> Decimal:
    """The average price of the purchases among ``fills``; 0 when there is none."""
    bought = [fill for fill in fills if fill.direction == "LONG"]
    volume = sum(fill.volume for fill in bought)
    if not volume:
        return Decimal(0)
    return (sum((fill.price * fill.volume for fill in bought), Decimal(0)) / volume).quantize(Decimal("0.001"))


def _rate(source: str, target: str) -> Decimal:
    return (RATES_TO_HKD[source] / RATES_TO_HKD[target]).quantize(RATE_PLACES)
