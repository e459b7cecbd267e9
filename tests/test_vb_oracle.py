"""After any disconnect, timeout, crash or restart, what the broker knows is in the engine, once (design, sections 1, 9).

The numbered scripts are the same on every machine. Many of them::

    ORACLE_SCRIPTS=500 ORACLE_FIRST=1 pytest tests/test_vb_oracle.py -k numbered
"""

from __future__ import annotations

import os

import pytest

from tests.oracle_run import run
from tests.oracle_script import draw

FIRST = int(os.environ.get("ORACLE_FIRST", "1"))
SCRIPTS = int(os.environ.get("ORACLE_SCRIPTS", "8"))


@pytest.mark.parametrize("number", range(FIRST, FIRST + SCRIPTS))
def test_numbered(number: int) -> None:
    run(draw(number))
