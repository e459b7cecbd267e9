"""Who may connect: ZeroMQ asks this thread about each client's public key (ZeroMQ RFC 27, ZAP).

The keys are the files ``clients/*.key``; a file that is put there or taken away counts at the next connection.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import zmq
import zmq.utils.z85

ENDPOINT = "inproc://zeromq.zap.01"
TURN_MS = 200
FOLDER = "clients"

logger = logging.getLogger(__name__)


class Gatekeeper(threading.Thread):
    """Answers for the sockets of one context; start it before they are bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        super().__init__(name="rpc-gatekeeper", daemon=True)
        self._folder = folder / FOLDER
        self._socket = context.socket(zmq.REP)
        self._socket.bind(ENDPOINT)
        self._ending = False

    def end(self) -> None:
        """Stop; nobody is let in any more."""
        self._ending = True
        self.join(2)

    def run(self) -> None:
        while not self._ending:
            if self._socket.poll(TURN_MS):
                self._answer(self._socket.recv_multipart())
        self._socket.close(0)

    def _answer(self, frames: list[bytes]) -> None:
        version, number = (*frames, b"", b"")[:2]
        known = False
        if len(frames) == 7 and frames[5] == b"CURVE" and len(frames[6]) == 32:
            known = zmq.utils.z85.encode(frames[6]).decode() in self._keys()
        status = (b"200", b"OK") if known else (b"400", b"unknown key")
        self._socket.send_multipart([version, number, *status, b"client" if known else b"", b""])

    def _keys(self) -> set[str]:
        from .keys import read_public_key

        found = set()
        for file in self._folder.glob("*.key"):
            try:
                found.add(read_public_key(file))
            except (OSError, ValueError) as error:
                logger.warning("RPC: key file %s cannot be read: %s", file, error)
        return found
