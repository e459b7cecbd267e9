"""Market depth (tws-api 4.3, 6.3): rows as the book changes, 12 without and 13 with a market maker or venue."""

from __future__ import annotations

from dataclasses import dataclass, field

from brokersim.model import Level, Quote
from brokersim.tws.client import Client
from brokersim.tws.contracts import ContractQuery
from brokersim.tws.framing import Reader
from brokersim.tws.hub import Handler, Hub
from brokersim.tws.quotes import NOT_SUBSCRIBED
from brokersim.tws.subscriptions import Subscription, Subscriptions, data_name, data_right, find_contract

INSERT, UPDATE, DELETE = 0, 1, 2
ASK_SIDE, BID_SIDE = 0, 1
MARKET_MAKER_VENUES = frozenset({"NASDAQ", "ARCA", "BATS", "NYSE"})
DEPTH_RESET = "Market depth data has been RESET. Please empty deep book contents before applying any new entries."
NO_DEPTH = "Deep market data is not supported for this combination of security type/exchange"


@dataclass(eq=False)
class Book(Subscription):
    """One depth request; ``shown`` is what the client has, by side."""

    rows: int
    maker: str
    """The venue or market maker of each row; empty for message 12."""
    is_smart: bool
    shown: dict[int, tuple[Level, ...]] = field(default_factory=lambda: {ASK_SIDE: (), BID_SIDE: ()})

    def show(self, quote: Quote) -> None:
        """Send what changed."""
        for side, levels in ((ASK_SIDE, quote.asks), (BID_SIDE, quote.bids)):
            levels = levels[: self.rows]
            before, self.shown[side] = self.shown[side], levels
            for position in range(len(before) - 1, len(levels) - 1, -1):
                self._row(position, DELETE, side, before[position])
            for position, level in enumerate(levels):
                if position >= len(before):
                    self._row(position, INSERT, side, level)
                elif level != before[position]:
                    self._row(position, UPDATE, side, level)

    def _row(self, position: int, operation: int, side: int, level: Level) -> None:
        price, size = (level.price, level.volume) if operation != DELETE else (0, 0)
        if self.maker:
            self.client.send(13, 1, self.request_id, position, self.maker, operation, side, price, size, self.is_smart)
        else:
            self.client.send(12, 1, self.request_id, position, operation, side, price, size)


class DepthRoom:
    """Requests 10 and 11."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._books: Subscriptions[Book] = Subscriptions()
        hub.market.listeners.append(self._on_quote)

    def handlers(self) -> dict[int, Handler]:
        return {10: self._request, 11: self._cancel}

    def forget(self, client: Client) -> None:
        self._books.forget(client)

    def lose(self) -> None:
        """Every subscription ends without a word, as after 1101."""
        self._books.clear()

    def reset(self) -> None:
        """317: every book is emptied and shown anew."""
        for book in self._books:
            book.client.error(book.request_id, 317, DEPTH_RESET)
            book.shown = {ASK_SIDE: (), BID_SIDE: ()}
            book.show(self._hub.market.quote(book.listed.vt_symbol))

    def _request(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        query = ContractQuery.read(reader)
        rows = reader.integer("numRows")
        is_smart = reader.flag("isSmartDepth")
        if self._books.get(client, request_id) is not None:
            client.error(request_id, 102, "Duplicate ticker ID.")
            return
        listed = find_contract(hub, client, request_id, query)
        if listed is None:
            return
        if listed.sec_type == "IND" or rows < 1 or (listed.exchange == "SMART") != is_smart:
            client.error(request_id, 10092, NO_DEPTH)
            return
        if data_right(hub, listed) != "live":
            client.error(request_id, 354, NOT_SUBSCRIBED.format(data_name(listed)))
            return
        most = hub.switches.depth_lines
        if self._books.count(client) >= most:
            client.error(request_id, 309, f"Max number ({most}) of market depth requests has been reached.")
            return
        maker = "NASDAQ" if is_smart else listed.exchange if listed.exchange in MARKET_MAKER_VENUES else ""
        book = Book(client, request_id, listed, rows, maker, is_smart)
        self._books.add(book)
        hub.market.watch(listed.vt_symbol)
        book.show(hub.market.quote(listed.vt_symbol))

    def _cancel(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        request_id = reader.integer("reqId")
        if self._books.remove(client, request_id) is None:
            client.error(request_id, 310, f"Can't find the subscribed market depth with tickerId:{request_id}")

    def _on_quote(self, quote: Quote, previous: Quote | None) -> None:
        for book in self._books.of(quote.vt_symbol):
            book.show(quote)
