"""A bare TWS API client over one blocking socket: its own framing, no library of anybody's."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEADLINE_S = 15.0
Fields = list[str]

AAPL = ("0", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", "")
TENCENT = ("0", "700", "STK", "", "0.0", "", "", "SEHK", "", "HKD", "", "")
EURUSD = ("0", "EUR", "CASH", "", "0.0", "", "", "IDEALPRO", "", "USD", "", "")
ES = ("0", "ES", "FUT", "202612", "0.0", "", "", "CME", "", "USD", "", "")
CALL = ("0", "AAPL", "OPT", "20261218", "230", "C", "100", "SMART", "", "USD", "", "")
"""Contracts as requests carry them (C12)."""


class RawClient:
    """One connection to the simulated TWS."""

    def __init__(self, address: str, *, receive_buffer: int | None = None) -> None:
        host, port = address.split(":")
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE_S)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect((host, int(port)))
        except OSError:
            self.socket.close()
            raise
        self._data = b""

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def shake_hands(self, versions: str = "v157..178") -> Fields:
        """The handshake; the server's version and time."""
        text = versions.encode("ascii")
        self.socket.sendall(b"API\0" + struct.pack(">I", len(text)) + text)
        return self.read()

    def start(self, client_id: int = 1) -> list[Fields]:
        """Handshake and startApi; everything up to the last farm notice."""
        self.shake_hands()
        self.send(71, 2, client_id, "")
        return self.read_until(lambda fields: fields[0] == "4" and fields[3] == "2158")

    def send(self, *fields: object) -> None:
        self.socket.sendall(framed(*fields))

    def read(self) -> Fields:
        """The next message; EOFError when the server has closed, TimeoutError when none comes."""
        size = struct.unpack(">I", self._exactly(4))[0]
        payload = self._exactly(size)
        assert payload.endswith(b"\0"), payload
        return payload[:-1].decode("ascii").split("\0")

    def read_until(self, last: Callable[[Fields], bool]) -> list[Fields]:
        """Messages up to the one that ``last`` is true for, that one included."""
        messages = []
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            messages.append(self.read())
            if last(messages[-1]):
                return messages
        raise TimeoutError(f"it never came; there were {messages[-20:]}")

    def until_id(self, message_id: int) -> list[Fields]:
        """Messages up to the first of this id."""
        return self.read_until(lambda fields: fields[0] == str(message_id))

    def error(self) -> tuple[int, int, str]:
        """The next error: (request id, code, text)."""
        fields = self.until_id(4)[-1]
        assert len(fields) == 6
        return int(fields[2]), int(fields[3]), fields[4]

    def is_closed(self) -> bool:
        """Does the server close without another message."""
        try:
            self.read()
        except (EOFError, ConnectionError):
            return True
        return False

    def ping(self) -> list[Fields]:
        """Everything that was sent before the answer to reqCurrentTime."""
        self.send(49, 1)
        return self.until_id(49)[:-1]

    def _exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            got = self.socket.recv(65_536)
            if not got:
                raise EOFError("the server closed")
            self._data += got
        part, self._data = self._data[:count], self._data[count:]
        return part


def framed(*fields: object) -> bytes:
    """One message as a client writes it."""
    payload = b"".join(str(field).encode("ascii") + b"\0" for field in fields)
    return struct.pack(">I", len(payload)) + payload


@contextmanager
def connected(address: str, client_id: int = 1) -> Iterator[RawClient]:
    """A started client, closed when the block ends."""
    with RawClient(address) as client:
        client.start(client_id)
        yield client


def details_request(req_id: int, contract: tuple[str, ...]) -> tuple[object, ...]:
    return (9, 8, req_id, *contract, 0, "", "", "")


def market_data_request(
    req_id: int, contract: tuple[str, ...], generic: str = "", *, snapshot: int = 0
) -> tuple[object, ...]:
    return (1, 11, req_id, *contract, 0, generic, snapshot, 0, "")


def history_request(
    req_id: int,
    contract: tuple[str, ...],
    size: str,
    duration: str,
    *,
    end: str = "",
    what: str = "TRADES",
    rth: int = 1,
    form: int = 2,
    keep: int = 0,
) -> tuple[object, ...]:
    return (20, req_id, *contract, 0, end, size, duration, rth, what, form, keep, "")
