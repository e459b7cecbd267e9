"""Share splits that the simulated data knows (design 7)."""

from __future__ import annotations

from datetime import date

SPLITS: dict[str, tuple[tuple[date, int], ...]] = {"AAPL.SMART": ((date(2014, 6, 9), 7),)}
"""vt_symbol -> (first day in new shares, new shares for one old), oldest first. Of data files only: generated prices
have no splits."""


def ratio(vt_symbol: str, after: date, until: date) -> int:
    """New shares for one old share over the splits that took effect after the day ``after`` up to the day ``until``,
    included."""
    product = 1
    for effective, shares in SPLITS.get(vt_symbol, ()):
        if after < effective <= until:
            product *= shares
    return product
