"""One broker's ledger: cash, positions, fees and what working orders hold. It always balances, and can prove it.

Account numbers follow the design's section 6: ``balance`` is net assets in one currency (cash plus positions at their
last price), ``available`` what can be spent now, ``frozen`` the difference. The proceeds of a sale can be spent at
once (the real broker settles in days: a choice of the simulator). Every instrument is fully paid, futures too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from brokersim.market import Market
from brokersim.model import ZERO, Fill, Position

COST_PLACES = Decimal("0.000001")


class LedgerError(AssertionError):
    """The books do not balance: a bug of the simulator, never of a client."""


@dataclass(frozen=True)
class Funds:
    """One account's numbers in one currency (design 6, "Account numbers, defined once")."""

    balance: Decimal
    frozen: Decimal
    available: Decimal
    cash: Decimal
    held_for_orders: Decimal


@dataclass(frozen=True)
class Hold:
    """What one working order keeps from being used twice: cash of a buy, shares of a sale."""

    account: str
    vt_symbol: str
    currency: str
    cash: Decimal = ZERO
    shares: int = 0


@dataclass(frozen=True)
class OpenedPosition:
    """A position that an account began with: signed volume, average cost in the instrument's currency."""

    account: str
    vt_symbol: str
    volume: int
    price: Decimal


@dataclass
class _Book:
    """The running totals of one (account, vt_symbol); exact fractions, since an average cost rarely is a decimal."""

    volume: int = 0
    cost: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)

    def trade(self, volume: int, value: Fraction) -> None:
        """Add ``volume`` signed shares bought for ``value`` (negative when sold)."""
        if self.volume * volume >= 0:
            self.volume += volume
            self.cost += value
            return
        closing = volume if abs(volume) <= abs(self.volume) else -self.volume
        closed_cost = self.cost * Fraction(-closing, self.volume)
        closed_value = value * Fraction(closing, volume)
        self.realised -= closed_value + closed_cost
        self.cost -= closed_cost
        self.volume += closing
        rest = volume - closing
        if rest:
            self.volume, self.cost = rest, value - closed_value


class Ledger:
    """The ledger of one broker: ``cash`` is ``{account: {currency: opening amount}}``.

    ``holds_reduce_available``: whether cash held for working orders still counts as available. VBrokers subtracts it
    (``enableBalance``); IBKR reports the whole ``CashBalance``.
    """

    def __init__(
        self, cash: Mapping[str, Mapping[str, Decimal | int]], market: Market, *, holds_reduce_available: bool = True
    ) -> None:
        self.market = market
        self.cash: dict[str, dict[str, Decimal]] = {}
        self.fees: dict[str, dict[str, Decimal]] = {}
        self.positions: dict[tuple[str, str], Position] = {}
        self._opening: dict[str, dict[str, Decimal]] = {}
        self._given: list[OpenedPosition] = []
        self._opened: dict[tuple[str, str], tuple[int, Fraction]] = {}
        self._books: dict[tuple[str, str], _Book] = {}
        self._fills: list[Fill] = []
        self._holds: dict[str, tuple[Hold, ...]] = {}
        # The same by account: one of many accounts must not cost a look at all of them.
        self._positions_of: dict[str, dict[str, Position]] = {}
        self._holds_of: dict[str, dict[str, Hold]] = {}
        self._holds_reduce_available = holds_reduce_available
        for account, sums in cash.items():
            self.open_account(account, sums)

    def open_account(self, account: str, sums: Mapping[str, Decimal | int]) -> None:
        """Add an account with its opening cash; one that exists stays as it is."""
        if account in self.cash:
            return
        opening = {currency: Decimal(amount) for currency, amount in sums.items()}
        self.cash[account], self._opening[account] = dict(opening), opening
        self.fees[account] = dict.fromkeys(opening, ZERO)

    @property
    def opening(self) -> Mapping[str, Mapping[str, Decimal]]:
        """What each account began with, by currency."""
        return self._opening

    @property
    def given(self) -> Sequence[OpenedPosition]:
        """The positions that accounts began with."""
        return self._given

    def restore(
        self,
        opening: Mapping[str, Mapping[str, Decimal]],
        given: Iterable[OpenedPosition],
        fills: Iterable[Fill],
    ) -> None:
        """Make the books of an earlier run anew, in a ledger in which nothing was booked yet: what everybody began
        with, then every fill. KeyError for an account, currency or instrument that is not there."""
        for account, sums in opening.items():
            self.cash.pop(account, None)
            self.open_account(account, sums)
        for one in given:
            self.open_position(one.account, one.vt_symbol, one.volume, one.price)
        for fill in fills:
            self.apply(fill)

    def open_position(self, account: str, vt_symbol: str, volume: int, price: Decimal) -> None:
        """Give an account a position that it did not buy here (``--positions``). KeyError for an unknown account or
        instrument."""
        instrument = self.market.instruments[vt_symbol]
        if instrument.currency not in self.cash[account]:
            raise KeyError(f"{account} holds no {instrument.currency}")
        self._given.append(OpenedPosition(account, vt_symbol, volume, price))
        value = Fraction(price) * volume * Fraction(instrument.size)
        before = self._opened.get((account, vt_symbol), (0, Fraction(0)))
        self._opened[account, vt_symbol] = (before[0] + volume, before[1] + value)
        self._trade(account, vt_symbol, volume, value)

    def apply(self, fill: Fill) -> None:
        """Book one fill: cash, fee and position, in the instrument's currency."""
        instrument = self.market.instruments[fill.vt_symbol]
        volume = fill.volume if fill.direction == "LONG" else -fill.volume
        value = fill.price * volume * instrument.size
        self.cash[fill.account][instrument.currency] -= value + fill.fee
        self.fees[fill.account][instrument.currency] += fill.fee
        self._fills.append(fill)
        self._trade(fill.account, fill.vt_symbol, volume, Fraction(value))

    def _trade(self, account: str, vt_symbol: str, volume: int, value: Fraction) -> None:
        book = self._books.setdefault((account, vt_symbol), _Book())
        book.trade(volume, value)
        price = ZERO
        if book.volume:
            per_share = book.cost / book.volume / Fraction(self.market.instruments[vt_symbol].size)
            price = (Decimal(per_share.numerator) / Decimal(per_share.denominator)).quantize(
                COST_PLACES, ROUND_HALF_EVEN
            )
        position = Position(account, vt_symbol, book.volume, price)
        self.positions[account, vt_symbol] = position
        self._positions_of.setdefault(account, {})[vt_symbol] = position

    def hold(self, order_id: str, *holds: Hold) -> None:
        """Set what one working order holds, in each account that it is for, in place of what it held before."""
        self.release(order_id)
        self._holds[order_id] = holds
        for hold in holds:
            self._holds_of.setdefault(hold.account, {})[order_id] = hold

    def release(self, order_id: str) -> None:
        """The order holds nothing any more; harmless when it held nothing."""
        for hold in self._holds.pop(order_id, ()):
            del self._holds_of[hold.account][order_id]

    def spendable(self, account: str, currency: str, *, besides: str = "") -> Decimal:
        """Cash less what working buys hold; ``besides`` leaves one order's own hold out (for an amendment or its
        fill)."""
        held = sum(
            (
                hold.cash
                for order_id, hold in self._holds_of.get(account, {}).items()
                if order_id != besides and hold.currency == currency
            ),
            ZERO,
        )
        return self.cash[account].get(currency, ZERO) - held

    def volume(self, account: str, vt_symbol: str) -> int:
        """Signed shares held; 0 when flat."""
        position = self.positions.get((account, vt_symbol))
        return position.volume if position else 0

    def sellable(self, account: str, vt_symbol: str, *, besides: str = "") -> int:
        """Shares that can still be sold without going short: the position less what working sales hold, at least 0."""
        held = sum(
            hold.shares
            for order_id, hold in self._holds_of.get(account, {}).items()
            if order_id != besides and hold.vt_symbol == vt_symbol
        )
        return max(0, self.volume(account, vt_symbol) - held)

    def held(self, account: str) -> list[Position]:
        """The account's positions, those that are flat left out."""
        return [position for position in self._positions_of.get(account, {}).values() if position.volume]

    def traded(self, account: str) -> list[str]:
        """Everything that the account holds or has held."""
        return list(self._positions_of.get(account, {}))

    def account(self, account: str, currency: str) -> Funds:
        """The account's numbers in one currency at the standing quotes. KeyError if it has no such currency."""
        cash = self.cash[account][currency]
        marked = sum((self._marked(position) for position in self._held_in(account, currency)), ZERO)
        spendable = self.spendable(account, currency)
        available = spendable if self._holds_reduce_available else cash
        balance = cash + marked
        return Funds(balance, balance - available, available, cash, cash - spendable)

    def pnl(self, account: str, vt_symbol: str) -> Decimal:
        """(last - average cost) x volume x size in the contract's currency; 0 when flat."""
        position = self.positions.get((account, vt_symbol))
        if position is None or position.volume == 0:
            return ZERO
        size = self.market.instruments[vt_symbol].size
        return (self.market.quote(vt_symbol).last - position.price) * position.volume * size

    def realised(self, account: str, vt_symbol: str) -> Decimal:
        """Profit of what was closed here, fees left out, in the contract's currency; 0 for what never traded."""
        book = self._books.get((account, vt_symbol))
        if book is None:
            return ZERO
        exact = Decimal(book.realised.numerator) / Decimal(book.realised.denominator)
        return exact.quantize(COST_PLACES, ROUND_HALF_EVEN)

    def check(self) -> None:
        """Prove the books from the fills alone; raises :class:`LedgerError` naming what does not balance.

        Cash + fees + cost of positions - realised profit equals what each account opened with, and every position is
        the sum of its fills.
        """
        paid: dict[tuple[str, str], Fraction] = {}
        held: dict[tuple[str, str], int] = {key: volume for key, (volume, _) in self._opened.items()}
        for fill in self._fills:
            instrument = self.market.instruments[fill.vt_symbol]
            signed = fill.volume if fill.direction == "LONG" else -fill.volume
            key = (fill.account, instrument.currency)
            paid[key] = paid.get(key, Fraction(0)) + Fraction(fill.price) * signed * Fraction(instrument.size)
            held[fill.account, fill.vt_symbol] = held.get((fill.account, fill.vt_symbol), 0) + signed
        for (account, vt_symbol), volume in held.items():
            if volume != self.volume(account, vt_symbol):
                raise LedgerError(f"{account} {vt_symbol}: {self.volume(account, vt_symbol)} held, fills make {volume}")
        for account, sums in self._opening.items():
            for currency, opening in sums.items():
                self._check_cash(account, currency, opening, paid.get((account, currency), Fraction(0)))

    def _check_cash(self, account: str, currency: str, opening: Decimal, paid: Fraction) -> None:
        cash, fees = self.cash[account][currency], self.fees[account][currency]
        if Fraction(cash + fees) + paid != Fraction(opening):
            raise LedgerError(f"{account} {currency}: cash {cash} + fees {fees} + paid {paid} is not {opening}")
        booked = Fraction(0)
        for (owner, vt_symbol), book in self._books.items():
            if owner == account and self.market.instruments[vt_symbol].currency == currency:
                opened = self._opened.get((owner, vt_symbol), (0, Fraction(0)))[1]
                booked += book.cost - book.realised - opened
        if booked != paid:
            raise LedgerError(f"{account} {currency}: cost less realised profit is {booked}, fills paid {paid}")

    def _held_in(self, account: str, currency: str) -> Iterator[Position]:
        for position in self.held(account):
            if self.market.instruments[position.vt_symbol].currency == currency:
                yield position

    def _marked(self, position: Position) -> Decimal:
        size = self.market.instruments[position.vt_symbol].size
        return self.market.quote(position.vt_symbol).last * position.volume * size
