"""The advisor (FA) login: the master account above the others, its groups and aliases (tws-api 4.6, 6.1, 13).

The reference tells the requests, their replies and that orders name a group and a method instead of an account. It is
silent on the form of the XML, which is here that of the groups since profiles became groups, on how an order is spread
and on how its executions look. Here: a group's shares are whole lots, those of the first account are filled first, and
each part is an execution in its own account; the order itself stands in the master account, which holds no money. The
methods ``Equal``, ``NetLiq`` and ``AvailableEquity`` are carried out. Groups begin empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from brokersim.model import ZERO, Instrument, Order
from brokersim.tws.account_values import totals
from brokersim.tws.client import Client
from brokersim.tws.framing import Reader
from brokersim.tws.hub import ADVISOR, Group, Handler, Hub

GROUPS, PROFILES, ALIASES = 1, 2, 3
NO_ADVISOR = "Error validating request.-'bC' : cause - FA data operations ignored for non FA customers."
NO_PROFILES = "FA Profile is not supported anymore, use FA Group instead"
METHODS: dict[str, str] = {
    "Equal": "Equal",
    "EqualQuantity": "Equal",
    "NetLiq": "NetLiq",
    "AvailableEquity": "AvailableEquity",
}
"""The methods that are carried out; ``EqualQuantity`` is an older name."""
HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
SHARES = "shares"
"""The tag of an order that says whose it is: ``DU1000001:30,DU1000002:70``."""
MAX_XML = 1_000_000

_ENTITIES = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


class BadGroups(ValueError):
    """A text that is no list of groups or aliases; ``code`` is what TWS answers, the text a line."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class AdvisorRoom:
    """requestFA and replaceFA."""

    def handlers(self) -> dict[int, Handler]:
        return {18: _request, 19: _replace}

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""


def _request(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    kind = reader.integer("faDataType")
    if not hub.switches.fa:
        client.error(-1, 321, NO_ADVISOR)
    elif kind == PROFILES:
        client.error(-1, 585, NO_PROFILES)
    elif kind == GROUPS:
        client.send(16, 1, kind, groups_xml(hub.groups.values()))
    elif kind == ALIASES:
        client.send(16, 1, kind, aliases_xml({name: hub.aliases.get(name, name) for name in hub.accounts}))
    else:
        client.error(-1, 321, f"Error validating request.-'bC' : cause - Invalid FA data type {kind}")


def _replace(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    kind, text = reader.integer("faDataType"), reader.text("xml")
    req_id = reader.integer("reqId", -1)
    if not hub.switches.fa:
        client.error(req_id, 321, NO_ADVISOR)
        return
    try:
        if kind == GROUPS:
            hub.groups = {group.name: group for group in read_groups(text, hub.sub_accounts)}
        elif kind == ALIASES:
            hub.aliases = read_aliases(text, hub.accounts)
        elif kind == PROFILES:
            raise BadGroups(585, NO_PROFILES)
        else:
            raise BadGroups(321, f"Error validating request.-'bC' : cause - Invalid FA data type {kind}")
    except BadGroups as error:
        client.error(req_id, error.code, str(error))
        return
    hub.changes += 1
    client.send(103, req_id, "success")


# -- XML -------------------------------------------------------------------------------------------------------


def groups_xml(groups: Iterable[Group]) -> str:
    """Groups as message 16 carries them."""
    rows = "".join(
        f"<Group><name>{escape(group.name)}</name><defaultMethod>{escape(group.method)}</defaultMethod>"
        '<ListOfAccts varName="list">'
        + "".join(f"<Account><acct>{account}</acct></Account>" for account in group.accounts)
        + "</ListOfAccts></Group>"
        for group in groups
    )
    return f"{HEAD}<ListOfGroups>{rows}</ListOfGroups>"


def aliases_xml(aliases: dict[str, str]) -> str:
    """Aliases as message 16 carries them."""
    rows = "".join(
        f"<AccountAlias><account>{account}</account><alias>{escape(alias)}</alias></AccountAlias>"
        for account, alias in aliases.items()
    )
    return f"{HEAD}<ListOfAccountAliases>{rows}</ListOfAccountAliases>"


def read_groups(text: str, accounts: Iterable[str]) -> list[Group]:
    """The groups of a replaceFA; accounts as ``<Account><acct>`` or as ``<String>``. :class:`BadGroups` (10231) when
    one names an account that this login has not."""
    known, groups = frozenset(accounts), []
    for node in _root(text, "ListOfGroups").iter("Group"):
        name, method = (node.findtext(tag, "").strip() for tag in ("name", "defaultMethod"))
        members = [(one.text or "").strip() for tag in ("acct", "String") for one in node.iter(tag)]
        if not name or not members:
            raise BadGroups(10230, "A group needs a name and accounts.")
        if len(set(members)) != len(members) or not known.issuperset(members):
            raise BadGroups(10231, f"The following Groups contain invalid accounts: {name}")
        groups.append(Group(name, method, tuple(members)))
    return groups


def read_aliases(text: str, accounts: Iterable[str]) -> dict[str, str]:
    """The aliases of a replaceFA. :class:`BadGroups` as :func:`read_groups`."""
    aliases = {
        node.findtext("account", "").strip(): node.findtext("alias", "").strip()
        for node in _root(text, "ListOfAccountAliases").iter("AccountAlias")
    }
    if unknown := sorted(aliases.keys() - set(accounts)):
        raise BadGroups(10231, f"Invalid accounts: {', '.join(unknown)}")
    return aliases


def _root(text: str, name: str) -> ElementTree.Element:
    if len(text) > MAX_XML or _ENTITIES.search(text):  # entities that grow are no part of this format
        raise BadGroups(10230, "The FA data cannot be read.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise BadGroups(10230, f"The FA data cannot be read: {error}") from error
    if root.tag != name:
        raise BadGroups(10230, f"The FA data must be a {name}.")
    return root


# -- orders ----------------------------------------------------------------------------------------------------


def spread(hub: Hub, group: Group, method: str, volume: int, instrument: Instrument) -> tuple[tuple[str, int], ...]:
    """An order's whole lots by account, largest remainders first; accounts that get nothing are left out. An odd rest
    goes to the last one. ValueError for a method that is not carried out or when nobody can get any."""
    kind = METHODS.get(method or group.method)
    if kind is None:
        raise ValueError(f"the method {method or group.method!r} is not carried out by the simulated broker")
    weights = {account: _weight(hub, account, kind) for account in group.accounts}
    total = sum(weights.values(), ZERO)
    if total <= 0:
        raise ValueError(f"the accounts of {group.name} have nothing to go by")
    lots = volume // instrument.lot
    exact = {account: weight * lots / total for account, weight in weights.items()}
    shares = {account: int(amount) for account, amount in exact.items()}
    left = lots - sum(shares.values())
    for account in sorted(exact, key=lambda one: shares[one] - exact[one])[:left]:
        shares[account] += 1
    parts = [(account, count * instrument.lot) for account, count in shares.items() if count]
    if not parts:
        return ((group.accounts[-1], volume),)
    account, part = parts[-1]
    return (*parts[:-1], (account, part + volume % instrument.lot))


def _weight(hub: Hub, account: str, kind: str) -> Decimal:
    if kind == "Equal":
        return Decimal(1)
    sums = totals(hub.ledger, account)
    return max(ZERO, sums.net if kind == "NetLiq" else sums.available)


def tag_of(shares: Iterable[tuple[str, int]]) -> dict[str, str]:
    """The order's tag that says whose its shares are; none for an order of one account."""
    text = ",".join(f"{account}:{part}" for account, part in shares)
    return {SHARES: text} if text else {}


def allot(order: Order, volume: int) -> list[tuple[str, int]]:
    """Whose the order's next ``volume`` shares are: the first account's part comes first, and what is beyond all parts
    (an order made larger) is the last one's."""
    text = order.tag.get(SHARES)
    if not text or order.account != ADVISOR:
        return [(order.account, volume)]
    parts, done = [], order.traded
    rows = [row.partition(":") for row in text.split(",")]
    for index, (account, _, size) in enumerate(rows):
        room = volume if index == len(rows) - 1 else min(volume, max(0, int(size) - done))
        done = max(0, done - int(size))
        if room:
            parts.append((account, room))
            volume -= room
    return parts or [(rows[-1][0], volume)]
