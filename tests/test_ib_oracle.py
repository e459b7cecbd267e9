"""After any disconnect, timeout, crash or restart, what TWS knows is in the engine, once (design, 1 and 9).

The numbered scripts are the same on every machine. Many of them::

    ORACLE_SCRIPTS=500 ORACLE_FIRST=1 pytest tests/test_ib_oracle.py -k numbered
"""

from __future__ import annotations

import os

import pytest

from tests.ib_oracle import draw, run

FIRST = int(os.environ.get("ORACLE_FIRST", "1"))
SCRIPTS = int(os.environ.get("ORACLE_SCRIPTS", "6"))


@pytest.mark.parametrize("number", range(FIRST, FIRST + SCRIPTS))
def test_numbered(number: int) -> None:
    run(draw(number))
