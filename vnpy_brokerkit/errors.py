"""Every error that the gateways raise inside themselves, one tree.

::

    BrokerError
     ├── ConnectionFailed    nothing was sent: no connection, or refused
     ├── LoginFailed         the broker refuses the password, key or session
     ├── PermissionDenied    no right to this market, data or function
     ├── InvalidRequest      the request is wrong before or at the broker, the same again would be too
     ├── Rejected            the broker clearly refuses an order or a cancel
     ├── UnknownOutcome      sent, and nobody can say whether it was carried out
     │    └── TimedOut       ... because no answer came in time
     ├── ProtocolError       what arrived is not the documented protocol
     ├── HistoryError        bars that are incomplete or not to be had
     ├── JournalError        the order journal cannot be opened or written: no order may be sent
     └── CredentialsError    no password, a key that is none, a keychain that does not answer

None of them ever crosses into vn.py, HistoryError from query_history apart: a gateway turns them into one log line or
a refused order. Each carries what it is about (``about``: the route or message), the broker's own code and words,
never a password, key or cipher text.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Base of all. ``about`` names the request or message, ``code`` is the broker's own code or ``""``."""

    def __init__(self, text: str, *, about: str = "", code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.about = about
        self.code = code

    def __str__(self) -> str:
        head = f"{self.about}: " if self.about else ""
        return f"{head}{self.text}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r}, about={self.about!r}, code={self.code!r})"


class ConnectionFailed(BrokerError):
    """Raised when no connection could be made: the request certainly did not leave this machine."""


class LoginFailed(BrokerError):
    """Raised when the broker refuses the login, or the session ended and could not be renewed."""


class PermissionDenied(BrokerError):
    """Raised when the account lacks the right to a market, to its quotes or to a function."""


class InvalidRequest(BrokerError):
    """Raised when a request is malformed for the broker; sending it again would fail the same way."""


class Rejected(BrokerError):
    """Raised when the broker clearly refuses an order or a cancel. Nothing is working because of it."""


class UnknownOutcome(BrokerError):
    """Raised when a request was sent and its outcome is not known. It must never be sent again by itself."""


class TimedOut(UnknownOutcome):
    """Raised when no answer came in time. For a read it may be asked again; for a mutation it is unknown."""


class ProtocolError(BrokerError):
    """Raised when a reply or frame is not what the protocol documents (malformed, too large, wrong type)."""


class HistoryError(BrokerError):
    """Raised when a history download is incomplete or cannot be had; a part is never returned as the whole."""


class JournalError(BrokerError):
    """Raised when the order journal is corrupt, taken by another process or cannot be written. Nothing was sent."""


class CredentialsError(BrokerError):
    """Raised when a password or key is missing or cannot be what it should be."""
