"""``--keep FILE``: what must outlive the simulator's process, in one JSON file (tws-api 20.9).

Orders, fills, cash, positions and ids of each broker, and the instant. It is written when something of it has changed,
at most a few times a second, and at a clean end; each time as a whole, beside the old one, which it then replaces: a
kill at any instant leaves one of the two. Two simulators must not share a file.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from brokersim.clock import Mode, SimClock
from brokersim.half import BadCall, Half, Options
from brokersim.ledger import LedgerError

EVERY_S = 0.25
"""At least so many seconds lie between two writes."""
SHARE = 10
"""And this many times what the last one took: a file that has become large does not stop the simulator."""

logger = logging.getLogger(__name__)


class KeptFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file. ``at`` is the simulator's instant when it was written; each broker's part is its own."""

    version: Literal[1]
    clock: Mode
    at: datetime
    brokers: dict[str, msgspec.Raw]


class Keeper:
    """The file of one simulator. The constructor reads it where it exists, and raises :class:`BadCall` with one line
    where it cannot be read."""

    def __init__(self, path: Path, clock: SimClock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._monotonic = monotonic
        self._kept = self._read()
        self._written: dict[str, int] | None = None
        """The changes that the file has; None before the first write."""
        self._written_at = 0.0
        self._pause_s = EVERY_S
        self._failing = False

    def _read(self) -> KeptFile | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._bad(error.strerror or type(error).__name__) from error
        try:
            kept = msgspec.json.decode(data, type=KeptFile)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._bad(str(error)) from error
        if kept.at.tzinfo is None:
            raise self._bad("its time has no offset")
        return kept

    def _bad(self, reason: str) -> BadCall:
        return BadCall(f"keep file {self._path}: {reason}")

    # -- going on ----------------------------------------------------------------------------------------------

    def wind(self) -> None:
        """Time does not go back: a clock that is behind the file goes on from there. To be called before the market
        is made."""
        clock = self._clock
        if self._kept is None:
            return
        if self._kept.clock != clock.mode:
            raise self._bad(f"it was kept with --clock {self._kept.clock}")
        if not clock.started or clock.now() < self._kept.at:
            clock.set(self._kept.at)

    def without_known(self, options: Options) -> Options:
        """The options without opening positions for brokers that the file knows: it has them already."""
        known = self._kept.brokers if self._kept else {}
        return replace(options, positions=tuple(one for one in options.positions if one.broker not in known))

    def restore(self, halves: Mapping[str, Half]) -> None:
        """Let every broker that the file knows go on where it stood. :class:`BadCall` when one can not."""
        if self._kept is not None:
            for name, half in halves.items():
                if name in self._kept.brokers:
                    self._restore(half, bytes(self._kept.brokers[name]), self._kept.at)

    def _restore(self, half: Half, kept: bytes, at: datetime) -> None:
        try:
            half.restore(kept, at)
        except KeyError as error:
            raise self._bad(f"{half.name}: {error.args[0]} is missing") from error
        except (msgspec.DecodeError, ValueError, TypeError, ArithmeticError, LedgerError) as error:
            raise self._bad(f"{half.name}: {str(error) or type(error).__name__}") from error

    # -- writing -----------------------------------------------------------------------------------------------

    def begin(self, halves: Mapping[str, Half]) -> None:
        """Write the file for the first time; OSError for a place that cannot be written. To be called when the ports
        are taken: another simulator on them, and on this file, must not lose what it wrote meanwhile."""
        self._save(halves)

    def turn(self, halves: Mapping[str, Half]) -> None:
        """Write what has changed, unless that was done a moment ago."""
        changed = {name: half.changes for name, half in halves.items()} != self._written
        if changed and self._monotonic() - self._written_at >= self._pause_s:
            self._try(halves)

    def end(self, halves: Mapping[str, Half]) -> None:
        """Write it for the last time, with the present instant; nothing when it never began."""
        if self._written is not None:
            self._try(halves)

    def _try(self, halves: Mapping[str, Half]) -> None:
        """A write that fails is told once, and tried again at the next turn."""
        try:
            self._save(halves)
        except OSError as error:
            self._written_at = self._monotonic()
            if not self._failing:
                logger.error("brokersim: keep file %s cannot be written: %s", self._path, error)
            self._failing = True
        else:
            self._failing = False

    def _save(self, halves: Mapping[str, Half]) -> None:
        begin = self._monotonic()
        changes = {name: half.changes for name, half in halves.items()}
        brokers = dict(self._kept.brokers) if self._kept else {}
        brokers |= {name: msgspec.Raw(msgspec.json.encode(half.keep())) for name, half in halves.items()}
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_bytes(msgspec.json.encode(KeptFile(1, self._clock.mode, self._clock.now(), brokers)))
        os.replace(beside, self._path)
        self._written, self._written_at = changes, self._monotonic()
        self._pause_s = max(EVERY_S, SHARE * (self._written_at - begin))
