"""Ids, time and who is logged in (tws-api 4.1, 4.6, 6.1)."""

from __future__ import annotations

from brokersim.tws.client import Client
from brokersim.tws.framing import Reader
from brokersim.tws.hub import Handler, Hub


class SessionRoom:
    """The small requests that need nothing but the connection."""

    def handlers(self) -> dict[int, Handler]:
        return {
            8: _ids,
            14: _log_level,
            17: _accounts,
            49: _time,
            80: _families,
            104: _user,
        }

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""


def _ids(hub: Hub, client: Client, reader: Reader) -> None:
    client.send(9, 1, hub.next_order_id(client.client_id))


def _log_level(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    if not 1 <= reader.integer("logLevel") <= 5:
        client.error(-1, 319, "Invalid log level: 1 to 5")


def _accounts(hub: Hub, client: Client, reader: Reader) -> None:
    client.send(15, 1, hub.managed_accounts())


def _time(hub: Hub, client: Client, reader: Reader) -> None:
    client.send(49, 1, int(hub.clock.now().timestamp()))


def _families(hub: Hub, client: Client, reader: Reader) -> None:
    """No account belongs to a family."""
    accounts = [account for account in hub.managed_accounts().split(",") if account]
    client.send(78, len(accounts), *(field for account in accounts for field in (account, "")))


def _user(hub: Hub, client: Client, reader: Reader) -> None:
    client.send(107, reader.integer("reqId"), "")
