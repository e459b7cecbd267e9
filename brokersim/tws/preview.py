"""What an order would do to its account's margin, for what-if orders (tws-api 7.1)."""

from __future__ import annotations

from brokersim.tws.account_values import EXCHANGE_RATES, totals
from brokersim.tws.hub import Hub
from brokersim.tws.messages import Preview
from brokersim.tws.order_rules import Wanted


def preview(hub: Hub, wanted: Wanted) -> Preview:
    """The account's numbers before the order and their change by it, in US dollars."""
    instrument = wanted.listed.instrument
    quote = hub.market.quote(instrument.vt_symbol)
    side = quote.asks if wanted.direction == "LONG" else quote.bids
    price = wanted.price or (side[0].price if side else quote.last)
    rate = EXCHANGE_RATES[instrument.currency]
    turnover = price * wanted.volume * instrument.size
    fee = hub.desk.fees.total(instrument, wanted.direction, wanted.volume, turnover) * rate
    held = hub.ledger.volume(wanted.account, instrument.vt_symbol)
    signed = wanted.volume if wanted.direction == "LONG" else -wanted.volume
    margin = price * instrument.size * rate * (abs(held + signed) - abs(held))
    before = totals(hub.ledger, wanted.account)
    return Preview(before.gross, before.gross, before.net, margin, margin, -fee, fee)
