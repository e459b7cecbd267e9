"""Whether the way that quotes take is open: TWS's own link, and the data farms behind it (reference "tws-api", 9.1)."""

from __future__ import annotations

from collections.abc import Mapping

from .contracts import Instrument
from .errors import FARMS_BROKEN, FARMS_OK

MARKET_DATA_FARMS = frozenset({2103, 2104})

# A farm's name begins with its region: the currencies or security types that it carries. One in no row may carry all.
FARM2CARRIED: Mapping[str, frozenset[str]] = {
    "cash": frozenset({"CASH", "CMDTY"}),
    "us": frozenset({"USD", "CAD"}),
    "eu": frozenset({"EUR", "GBP", "CHF", "SEK", "NOK", "DKK"}),
    "hfarm": frozenset({"HKD", "CNH", "CNY"}),
    "hk": frozenset({"HKD", "CNH", "CNY"}),
    "jfarm": frozenset({"JPY", "AUD", "SGD", "KRW", "INR"}),
}


class Channel:
    """What TWS said about its link and its market data farms."""

    def __init__(self) -> None:
        self.up = True
        self._broken: set[str] = set()

    def renew(self) -> None:
        """A new connection: nothing was said yet."""
        self.up = True
        self._broken.clear()

    def on_farm(self, code: int, text: str) -> None:
        """A market data farm is broken or well again; its name is the text's last word."""
        if code not in MARKET_DATA_FARMS:
            return
        farm = text.rpartition(":")[2].strip().lower()
        if code in FARMS_BROKEN:
            self._broken.add(farm)
        elif code in FARMS_OK:
            self._broken.discard(farm)

    def serves(self, instrument: Instrument) -> bool:
        """Whether quotes of an instrument can arrive."""
        needs = {instrument.currency, instrument.contract.secType}
        for farm in self._broken:
            carried = next((what for prefix, what in FARM2CARRIED.items() if farm.startswith(prefix)), needs)
            if carried & needs:
                return False
        return self.up
