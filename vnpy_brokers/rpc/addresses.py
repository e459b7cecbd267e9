"""Where server and clients meet: ``tcp://host:port``, and which hosts are this machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from vnpy_brokerkit.errors import InvalidRequest
from vnpy_brokerkit.i18n import _

REPLY_ADDRESS = "tcp://127.0.0.1:2014"
"""Where requests are answered; vn.py's own RPC service uses the same port."""
PUBLISH_ADDRESS = "tcp://127.0.0.1:4102"
"""Where news is published; vn.py's own RPC service uses the same port."""

# What ZeroMQ would not take at once it must not get: it says so in a thread where nobody asked.
_HOST = r"\[[0-9A-Fa-f:.%\w]+\]|[0-9A-Za-z][0-9A-Za-z._-]*|\*"
_FORM = re.compile(rf"tcp://(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}}|\*)", re.ASCII)
_EVERY = frozenset({"*", "0.0.0.0", "[::]"})


@dataclass(frozen=True)
class Address:
    """One end: ``host`` as written (IPv6 in brackets), ``port`` a number or ``*`` for any free one."""

    host: str
    port: str

    @property
    def text(self) -> str:
        """As ZeroMQ wants it."""
        return f"tcp://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than localhost may mean any machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def parse_address(text: str, *, listening: bool = False) -> Address:
    """Read an address. Raises :class:`InvalidRequest` in words.

    ``listening``: the end at which a server listens, where ``*`` may stand for every host and for any free port.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or not (listening or (found["host"] not in _EVERY and found["port"] != "*")):
        raise InvalidRequest(_("地址“{}”无效，应形如 tcp://127.0.0.1:2014").format(text), about=text)
    if found["port"] != "*" and int(found["port"]) > 65535:
        raise InvalidRequest(_("地址“{}”的端口无效（0-65535）").format(text), about=text)
    return Address(found["host"], found["port"])
