"""The shown book: five levels around the best bid and ask, never crossed or locked."""

from __future__ import annotations

from hashlib import blake2b

from brokersim.model import Level
from brokersim.prices import Grid, to_price

DEPTH = 5


class Book:
    """Builds the levels of one instrument. Sizes behind the best are a function of price and seed: the same book for
    the same price."""

    def __init__(self, grid: Grid, lot: int, seed: str) -> None:
        self._grid = grid
        self._board = lot if lot > 1 else 100
        self._seed = seed
        self._behind: dict[tuple[bool, int], tuple[Level, ...]] = {}

    def bids(self, best: int, size: int) -> tuple[Level, ...]:
        """Levels from the best bid down; empty without a bid."""
        if best <= 0:
            return ()
        behind = self._behind.get((True, best))
        return (Level(to_price(best), size), *(self._levels(True, best) if behind is None else behind))

    def asks(self, best: int, size: int) -> tuple[Level, ...]:
        """Levels from the best ask up; empty without an ask."""
        if best <= 0:
            return ()
        behind = self._behind.get((False, best))
        return (Level(to_price(best), size), *(self._levels(False, best) if behind is None else behind))

    def uncross(self, bid: int, ask: int, newer: str) -> tuple[int, int]:
        """Bid and ask as shown: where they cross or lock, the side that did not change last moves one tick away
        (design 7)."""
        if 0 < ask <= bid:
            if newer == "ask":
                return self._grid.down(ask), ask
            return bid, self._grid.up(bid)
        return bid, ask

    def _levels(self, is_bid: bool, best: int) -> tuple[Level, ...]:
        levels = []
        price = best
        for depth in range(1, DEPTH):
            price = self._grid.down(price) if is_bid else self._grid.up(price)
            if price <= 0:
                break
            digest = blake2b(f"{self._seed}|{is_bid}|{price}".encode(), digest_size=2).digest()
            levels.append(Level(to_price(price), self._board * (depth + 1 + int.from_bytes(digest, "big") % 16)))
        if len(self._behind) > 20_000:
            self._behind.clear()
        self._behind[is_bid, best] = tuple(levels)
        return self._behind[is_bid, best]
