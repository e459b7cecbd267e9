"""The vn.py folder that the process works in.

vn.py takes the current directory when it holds ``.vntrader``, else the home directory, and decides at its first
import. The demo therefore steps into a folder of its own before, and the user's stays byte-identical.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vnpy_brokerkit.i18n import _

from .console import say


@contextmanager
def demo_folder() -> Iterator[Path]:
    """Inside, the current directory is a new vn.py folder; it is removed at the end.

    Must be entered before anything of vn.py is imported.
    """
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="vnpy-demo-"))
    (folder / ".vntrader").mkdir()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        _close_log_files()
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            say(_("演示文件夹未能删除，可以手动删除：{}").format(folder))


def _close_log_files() -> None:
    """vn.py's logger keeps its file open, which Windows does not let go of."""
    if "loguru" in sys.modules:
        sys.modules["loguru"].logger.remove()
