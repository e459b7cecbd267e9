"""The results for a person to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .verdict import Outcome, Result

MARKS = {Outcome.PASSED: "pass", Outcome.FAILED: "FAIL", Outcome.NOT_APPLICABLE: "n/a"}


def table(results: Sequence[Result]) -> str:
    """One line for each check and, where it did not pass, one for the reason; the numbers at the end."""
    width = max((len(result.name) for result in results), default=0)
    lines = []
    for result in results:
        lines.append(f"{MARKS[result.outcome]:4}  {result.seconds:5.1f} s  {result.name:{width}}  {result.holds}")
        if result.reason:
            lines.append(" " * 15 + result.reason.replace("\n", " "))
    counts = Counter(result.outcome for result in results)
    lines.append(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))
    return "\n".join(lines)
