"""The small requests that need nothing but the connection (tws-api 4.1, 6.1)."""

from __future__ import annotations

from brokersim.tws.client import Client
from brokersim.tws.framing import Reader
from brokersim.tws.hub import Handler, Hub


class SessionRoom:
    """Requests 14 and 49."""

    def handlers(self) -> dict[int, Handler]:
        return {14: _log_level, 49: _time}

    def forget(self, client: Client) -> None:
        """Nothing is kept by client."""


def _log_level(hub: Hub, client: Client, reader: Reader) -> None:
    reader.skip()
    if not 1 <= reader.integer("logLevel") <= 5:
        client.error(-1, 319, "Invalid log level: 1 to 5")


def _time(hub: Hub, client: Client, reader: Reader) -> None:
    client.send(49, 1, int(hub.clock.now().timestamp()))
