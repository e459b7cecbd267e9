"""Whether a window can be opened here, found out in a child process.

Qt without a screen, or without one of its system libraries, does not raise: it aborts the process. So a child tries.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from vnpy_brokerkit.i18n import _

PROBE: Sequence[str] = (
    sys.executable,
    "-c",
    "from PySide6.QtWidgets import QApplication; QApplication([])",
)
DEADLINE_S = 15.0


def why_no_window(command: Sequence[str] = PROBE, deadline_s: float = DEADLINE_S) -> str | None:
    """The reason, in a few words, why Qt cannot open a window here; None when it can."""
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=deadline_s,
        )
    except subprocess.TimeoutExpired:
        return _("Qt 在 {:.0f} 秒内没有响应").format(deadline_s)
    if child.returncode == 0:
        return None
    lines = [line.strip() for line in child.stderr.splitlines() if line.strip()]
    return _reason(lines) or _("Qt 以代码 {} 结束").format(child.returncode)


def _reason(lines: Sequence[str]) -> str:
    """The line that tells most: an import that failed stands last, Qt names the missing plugin first."""
    for line in reversed(lines):
        if "Error: " in line:
            return line
    return lines[0] if lines else ""
