"""The word between a check and the order that it stops."""

from __future__ import annotations


class Refusal(Exception):
    """Raised for an order that must not leave this machine; its text is for the trader."""
