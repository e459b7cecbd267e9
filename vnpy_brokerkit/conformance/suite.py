"""All checks, and :func:`run`, which puts a gateway through them one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from vnpy.trader.gateway import BaseGateway

from . import connecting, objects, orders, outages, quotes
from .check import Check
from .stage import Stage
from .venue import Venue
from .verdict import Failed, NotApplicable, Outcome, Result

CHECKS: tuple[Check, ...] = (
    *connecting.CHECKS,
    *quotes.CHECKS,
    *orders.CHECKS,
    *outages.CHECKS,
    *objects.CHECKS,
)
"""Every check, in the order in which they run."""


def run(
    gateway_class: type[BaseGateway], venue_factory: Callable[[], Venue], names: Iterable[str] | None = None
) -> list[Result]:
    """Put a gateway through the checks of these names, or through all; one :class:`Result` each.

    Each check gets a venue and an engine of its own. The gateway is added under its class's ``default_name`` and is
    made as vn.py makes it, from the engine and the name alone. A check that fails does not end the run. Raises
    KeyError for a name that no check has, and whatever the venue raises when it can not be started.
    """
    known = {check.name: check for check in CHECKS}
    return [run_check(known[name], gateway_class, venue_factory()) for name in (known if names is None else names)]


def run_check(check: Check, gateway_class: type[BaseGateway], venue: Venue) -> Result:
    """Put a gateway through one check on this venue, which is started and ended here."""
    lacking = sorted(check.needs & venue.lacks.keys())
    if lacking:
        reason = "; ".join(f"the venue has no {feature}: {venue.lacks[feature]}" for feature in lacking)
        return Result(check.name, check.holds, Outcome.NOT_APPLICABLE, reason)
    began = time.monotonic()
    venue.start()
    try:
        outcome, reason, log = _outcome(check, gateway_class, venue)
    finally:
        venue.end()
    return Result(check.name, check.holds, outcome, reason, time.monotonic() - began, log)


def _outcome(check: Check, gateway_class: type[BaseGateway], venue: Venue) -> tuple[Outcome, str, tuple[str, ...]]:
    stage: Stage | None = None
    lack = ""
    try:
        stage = Stage(gateway_class, venue)
        try:
            check.run(stage)
        except NotApplicable as missing:
            lack = str(missing)
        stage.end()
    except Exception as error:  # noqa: BLE001  whatever a gateway raises into its caller is its failure, not the run's
        reason = str(error) if isinstance(error, Failed) else f"raised {error!r}"
        log = stage.log_tail() if stage else ()
        # What still waits for the broker is let go; a gateway that has failed may hang in its close() as well.
        venue.end()
        if stage:
            with suppress(Exception):
                stage.close()
        return Outcome.FAILED, reason, log
    return (Outcome.NOT_APPLICABLE, lack, ()) if lack else (Outcome.PASSED, "", ())
