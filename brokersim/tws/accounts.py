"""The account requests of the TWS wire: values, positions, summaries, profit, and their live changes (tws-api 4.6, 6.6,
13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from brokersim.model import ZERO, Fill, Order, Position
from brokersim.truth import plain
from brokersim.tws.account_values import (
    LEDGER_TAG,
    SUMMARY_TAGS,
    Row,
    account_profit,
    ledger_rows,
    profit,
    summary_rows,
    tag_rows,
    value,
    value_rows,
)
from brokersim.tws.client import Client
from brokersim.tws.executions import midnight
from brokersim.tws.framing import Reader
from brokersim.tws.hub import EVERYBODY, Handler, Hub
from brokersim.tws.messages import average
from brokersim.tws.names import REQUESTS

REFRESH = timedelta(minutes=3)
"""How often account values are told again when nothing was traded (tws-api 10)."""
PROFIT_EVERY = timedelta(seconds=1)
MAX_SUMMARIES = 2
MANY_ACCOUNTS = 50
"""With more than these, positions and summaries of all accounts at once are refused (tws-api 10 for the positions; the
code is not told there: 321, a request that does not pass its check)."""
TOO_MANY = f"is not available with more than {MANY_ACCOUNTS} accounts"
DERIVATIVES = frozenset({"FUT", "OPT"})


@dataclass
class _Values:
    """One subscription to account values: what its client knows already."""

    client: Client
    account: str
    rows: Callable[[], list[Row]]
    tell: Callable[[Row], None]
    known: dict[tuple[str, str], str] = field(default_factory=dict)

    def push(self) -> bool:
        """Send the rows that have changed; whether there were any."""
        changed = [row for row in self.rows() if self.known.get((row[0], row[2])) != row[1]]
        for row in changed:
            self.known[row[0], row[2]] = row[1]
            self.tell(row)
        return bool(changed)


@dataclass
class _Profit:
    """One subscription to profit: how to make its message, and the last one."""

    client: Client
    make: Callable[[], tuple[str, ...]]
    last: tuple[str, ...] = ()

    def push(self) -> None:
        numbers = self.make()
        if numbers != self.last:
            self.last = numbers
            self.client.send(*(int(one) if index < 2 else one for index, one in enumerate(numbers)))


class AccountRoom:
    """Accounts and positions. Subscriptions are kept by connection."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        hub.managed_accounts = self.managed_accounts
        self._position_clients: dict[int, Client] = {}
        self._updates: dict[int, _Values] = {}
        self._multi: dict[tuple[int, int], _Values] = {}
        self._position_multi: dict[tuple[int, int], tuple[Client, str, str]] = {}
        self._summaries: dict[tuple[int, int], _Values] = {}
        self._profits: dict[tuple[int, int], _Profit] = {}
        self._traded: set[str] = set()
        self._refreshed = self._profit_told = hub.clock.now()
        hub.desk.listeners.append(self._on_change)
        self._handlers: dict[int, Handler] = {
            6: self._account_updates,
            61: self._positions,
            62: self._account_summary,
            63: self._cancel_summary,
            64: self._cancel_positions,
            74: self._positions_multi,
            75: self._cancel_positions_multi,
            76: self._account_updates_multi,
            77: self._cancel_updates_multi,
            92: self._pnl,
            93: self._cancel_pnl,
            94: self._pnl_single,
            95: self._cancel_pnl,
        }
        self.names = {message: REQUESTS[message][0] for message in self._handlers}

    def handlers(self) -> dict[int, Handler]:
        return dict(self._handlers)

    def forget(self, client: Client) -> None:
        """A client is gone: its subscriptions end."""
        self._position_clients.pop(client.number, None)
        self._updates.pop(client.number, None)
        for kept in (self._multi, self._position_multi, self._summaries, self._profits):
            for key in [key for key in kept if key[0] == client.number]:
                del kept[key]

    def managed_accounts(self) -> str:
        """The account list of message 15: several end in a comma (tws-api 6.1), an advisor's own is the first."""
        return ",".join(self._hub.accounts) + ("," if len(self._hub.accounts) > 1 else "")

    def _members(self, account: str) -> tuple[str, ...]:
        """Whose numbers an account's are: its own, or on an advisor's login everybody's; none where it is unknown."""
        if account == EVERYBODY and self._hub.switches.fa:
            return self._hub.sub_accounts
        return (account,) if account in self._hub.accounts else ()

    @property
    def _has_many(self) -> bool:
        return len(self._hub.sub_accounts) > MANY_ACCOUNTS

    # -- changes -----------------------------------------------------------------------------------

    def _on_change(self, order: Order, fill: Fill | None) -> None:
        if fill is None:
            return
        self._traded.add(fill.account)
        position = self._hub.ledger.positions[fill.account, fill.vt_symbol]
        for client in self._position_clients.values():
            self._send_position(client, position)
        for (_, req_id), (client, account, model) in self._position_multi.items():
            if account in ("", position.account):
                self._send_position_multi(client, req_id, model, position)

    def turn(self) -> None:
        """Tell what has changed: accounts that traded at once, the others every three minutes, profit every second."""
        now = self._hub.clock.now()
        traded, self._traded = self._traded, set()
        due = not timedelta(0) <= now - self._refreshed < REFRESH
        if due:
            self._refreshed = now
        if due or traded:
            for values in [*self._updates.values(), *self._multi.values()]:
                if due or traded.intersection(self._members(values.account)):
                    values.push()
            for values in self._updates.values():
                if due or traded.intersection(self._members(values.account)):
                    self._send_portfolio(values.client, values.account)
        if due:
            for values in self._summaries.values():
                if values.push():
                    values.client.send(64, 1, self._summary_id(values))
        if traded or not timedelta(0) <= now - self._profit_told < PROFIT_EVERY:
            self._profit_told = now
            for one in list(self._profits.values()):
                one.push()

    def _summary_id(self, values: _Values) -> int:
        return next(req_id for (_, req_id), one in self._summaries.items() if one is values)

    # -- account values ----------------------------------------------------------------------------

    def _account_updates(self, hub: Hub, client: Client, reader: Reader) -> None:
        """One account at a time; asking for another ends the former."""
        reader.skip()
        subscribe, account = reader.flag("subscribe"), reader.text("account") or self._hub.accounts[0]
        self._updates.pop(client.number, None)
        if not subscribe:
            return
        if not self._members(account):
            client.error(-1, 321, f"Error validating request.-'bL' : cause - Invalid account code {account!r}")
            return
        values = _Values(
            client,
            account,
            lambda: value_rows(hub.ledger, account, self._members(account)),
            lambda row: client.send(6, 2, *row, account),
        )
        self._updates[client.number] = values
        values.push()
        self._send_portfolio(client, account)
        client.send(54, 1, account)

    def _send_portfolio(self, client: Client, account: str) -> None:
        ledger = self._hub.ledger
        for member in self._members(account):
            for vt_symbol in ledger.traded(member):
                position = ledger.positions[member, vt_symbol]
                listed = self._hub.contracts.by_vt(vt_symbol)
                last = ledger.market.quote(vt_symbol).last
                numbers = (last, value(ledger, position), round(position.price * listed.size, 8))
                gains = (ledger.pnl(member, vt_symbol), ledger.realised(member, vt_symbol))
                row = (*listed.c11(listed.primary_exchange, strike="0", right="0"), str(position.volume))
                client.send(7, 8, *row, *map(plain, numbers), *map(plain, gains), member)
        client.send(8, 1, f"{self._hub.clock.now():%H:%M}")

    def _account_updates_multi(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        req_id, account = reader.integer("reqId"), reader.text("account") or self._hub.accounts[0]
        model, ledger_only = reader.text("modelCode"), reader.flag("ledgerAndNLV")
        if not self._members(account):
            client.error(req_id, 321, f"Error validating request.-'bL' : cause - Invalid account code {account!r}")
            return

        def rows() -> list[Row]:
            members = self._members(account) or (account,)
            if not ledger_only:
                return value_rows(hub.ledger, account, members)
            net = [row for row in tag_rows(hub.ledger, account, members) if row[0] == "NetLiquidation"]
            return [*net, *ledger_rows(hub.ledger, *members)]

        values = _Values(client, account, rows, lambda row: client.send(73, 1, req_id, account, model, *row))
        self._multi[client.number, req_id] = values
        values.push()
        client.send(74, 1, req_id)

    def _cancel_updates_multi(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        self._multi.pop((client.number, reader.integer("reqId")), None)

    def _account_summary(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        req_id, group, tags_text = reader.integer("reqId"), reader.text("group"), reader.text("tags")
        tags = {tag.strip() for tag in tags_text.split(",") if tag.strip()}
        own = [key for key in self._summaries if key[0] == client.number]
        known = {tag for tag in tags if tag in SUMMARY_TAGS or tag.startswith(LEDGER_TAG)}
        if (client.number, req_id) in self._summaries:
            client.error(req_id, 322, "Error processing request.-'bR' : cause - Duplicate request id.")
        elif len(own) >= MAX_SUMMARIES:
            text = "Error processing request.-'bR' : cause - Maximum number of account summary requests exceeded"
            client.error(req_id, 322, text)
        elif not known:
            client.error(req_id, 321, f"Error validating request.-'bR' : cause - Invalid tags {tags_text!r}")
        elif group == EVERYBODY and self._has_many:
            client.error(req_id, 321, f"Error validating request.-'bR' : cause - Group 'All' {TOO_MANY}")
        elif accounts := self._group(group):
            self._open_summary(client, req_id, accounts, known)
        else:
            client.error(req_id, 321, f"Error validating request.-'bR' : cause - Invalid group {group!r}")

    def _group(self, group: str) -> tuple[str, ...]:
        """The accounts of a summary's group: everybody's, an advisor's group, or an account; none if it is neither."""
        if group == EVERYBODY:
            return self._hub.accounts
        if self._hub.switches.fa and group in self._hub.groups:
            return self._hub.groups[group].accounts
        return (group,) if group in self._hub.accounts else ()

    def _open_summary(self, client: Client, req_id: int, accounts: tuple[str, ...], tags: set[str]) -> None:
        ledger = self._hub.ledger

        def rows() -> list[Row]:
            return [
                (f"{account}\t{tag}", text, currency)
                for account in accounts
                for tag, text, currency in summary_rows(ledger, account, tags)
            ]

        def tell(row: Row) -> None:
            account, tag = row[0].split("\t")
            client.send(63, 1, req_id, account, tag, row[1], row[2])

        values = _Values(client, "", rows, tell)
        self._summaries[client.number, req_id] = values
        values.push()
        client.send(64, 1, req_id)

    def _cancel_summary(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        self._summaries.pop((client.number, reader.integer("reqId")), None)

    # -- positions ---------------------------------------------------------------------------------

    def _positions(self, hub: Hub, client: Client, reader: Reader) -> None:
        if self._has_many:
            client.error(-1, 321, f"Error validating request.-'bO' : cause - reqPositions {TOO_MANY}")
            return
        self._position_clients[client.number] = client
        for account in self._hub.accounts:
            for position in hub.ledger.held(account):
                self._send_position(client, position)
        client.send(62, 1)

    def _cancel_positions(self, hub: Hub, client: Client, reader: Reader) -> None:
        self._position_clients.pop(client.number, None)

    def _send_position(self, client: Client, position: Position) -> None:
        client.send(61, 3, position.account, *self._position_fields(position))

    def _position_fields(self, position: Position) -> tuple[str, ...]:
        """C11 with the listing exchange (none for derivatives), the signed volume, the average cost with multiplier."""
        listed = self._hub.contracts.by_vt(position.vt_symbol)
        exchange = "" if listed.sec_type in DERIVATIVES else listed.primary_exchange or listed.exchange
        cost = average(position.price * listed.size)
        return (*listed.c11(exchange, strike="0.0", right=""), str(position.volume), cost)

    def _positions_multi(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        req_id, account, model = reader.integer("reqId"), reader.text("account"), reader.text("modelCode")
        if account and account not in self._hub.accounts:
            client.error(req_id, 321, f"Error validating request.-'bL' : cause - Invalid account code {account!r}")
            return
        self._position_multi[client.number, req_id] = (client, account, model)
        for one in [account] if account else self._hub.accounts:
            for position in hub.ledger.held(one):
                self._send_position_multi(client, req_id, model, position)
        client.send(72, 1, req_id)

    def _send_position_multi(self, client: Client, req_id: int, model: str, position: Position) -> None:
        client.send(71, 1, req_id, position.account, *self._position_fields(position), model)

    def _cancel_positions_multi(self, hub: Hub, client: Client, reader: Reader) -> None:
        reader.skip()
        self._position_multi.pop((client.number, reader.integer("reqId")), None)

    # -- profit ------------------------------------------------------------------------------------

    def _pnl(self, hub: Hub, client: Client, reader: Reader) -> None:
        req_id, account = reader.integer("reqId"), reader.text("account")
        if self._may_see(client, req_id, account):
            self._profit(client, req_id, lambda: self._pnl_numbers(req_id, account))

    def _pnl_single(self, hub: Hub, client: Client, reader: Reader) -> None:
        req_id, account = reader.integer("reqId"), reader.text("account")
        reader.skip()
        listed = hub.contracts.by_con_id(reader.integer("conId"))
        if listed is None:
            client.error(req_id, 321, "Error validating request.-'bP' : cause - Invalid contract id")
        elif self._may_see(client, req_id, account):
            vt_symbol = listed.vt_symbol
            self._profit(client, req_id, lambda: self._single_numbers(req_id, account, vt_symbol))

    def _profit(self, client: Client, req_id: int, make: Callable[[], tuple[str, ...]]) -> None:
        one = self._profits[client.number, req_id] = _Profit(client, make)
        one.push()

    def _may_see(self, client: Client, req_id: int, account: str) -> bool:
        if account in self._hub.accounts:
            return True
        client.error(req_id, 321, f"Error validating request.-'bP' : cause - Invalid account code {account!r}")
        return False

    def _pnl_numbers(self, req_id: int, account: str) -> tuple[str, ...]:
        numbers = account_profit(self._hub.desk, account, self._today())
        return ("94", str(req_id), *map(_money, (numbers.daily, numbers.unrealised, numbers.realised)))

    def _single_numbers(self, req_id: int, account: str, vt_symbol: str) -> tuple[str, ...]:
        numbers = profit(self._hub.desk, account, vt_symbol, self._today())
        position = self._hub.ledger.positions.get((account, vt_symbol))
        worth = value(self._hub.ledger, position) if position else ZERO
        volume = position.volume if position else 0
        amounts = (numbers.daily, numbers.unrealised, numbers.realised, worth)
        return ("95", str(req_id), str(volume), *map(_money, amounts))

    def _today(self) -> datetime:
        return midnight(self._hub.clock.now())

    def _cancel_pnl(self, hub: Hub, client: Client, reader: Reader) -> None:
        self._profits.pop((client.number, reader.integer("reqId")), None)


def _money(amount: Decimal) -> str:
    return f"{amount:.2f}"
