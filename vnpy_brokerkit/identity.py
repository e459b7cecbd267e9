"""Local order ids: two letters of the gateway instance, base-36 time, counter (design, section 4, Identity).

No dot (vn.py's apps split at dots), unique over restarts, processes and gateways: the time is the microsecond at which
the instance began, so two instances would have to begin in the same microsecond under the same letters to collide.
"""

from __future__ import annotations

import hashlib
import itertools
import string
from datetime import datetime

_DIGITS = string.digits + string.ascii_lowercase
_KNOWN = {"VBROKERS": "VB", "IBKR": "IB"}


def base36(number: int) -> str:
    """Write a non-negative whole number with the digits 0-9a-z."""
    text = ""
    while True:
        number, rest = divmod(number, 36)
        text = _DIGITS[rest] + text
        if not number:
            return text


def letters_for(gateway_name: str) -> str:
    """Return the two upper-case letters of a gateway instance: the same for a name today and after a restart."""
    if gateway_name in _KNOWN:
        return _KNOWN[gateway_name]
    first, second = hashlib.sha256(gateway_name.encode()).digest()[:2]
    letters = string.ascii_uppercase
    found = letters[first % 26] + letters[second % 26]
    # A foreign name must not speak with the letters of a known one: its ids would look like that gateway's.
    return found if found not in _KNOWN.values() else "Z" + found[1]


class OrderIds:
    """Gives out local ids. ``next()`` may be called from any thread: ``itertools.count`` is atomic under CPython."""

    def __init__(self, gateway_name: str, now: datetime) -> None:
        self.letters = letters_for(gateway_name)
        self._stem = f"{self.letters}{base36(int(now.timestamp() * 1_000_000))}"
        self._counter = itertools.count(1)

    def next(self) -> str:
        """Return a new id."""
        return f"{self._stem}-{base36(next(self._counter))}"

    def external(self, broker_id: str) -> str:
        """Return the id of an order that was placed elsewhere: our letters and the broker's number."""
        return self.letters + "".join(c if c.isalnum() or c in "-_" else "_" for c in broker_id)
