"""One vn.py folder for the whole test run, made before vn.py is imported: it looks for its folder when it is."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_HOME = tempfile.TemporaryDirectory(prefix="vnpy-tests-", ignore_cleanup_errors=True)
_VNTRADER = Path(_HOME.name) / ".vntrader"
_VNTRADER.mkdir()
(_VNTRADER / "vt_setting.json").write_text(
    json.dumps({"database.timezone": "Asia/Shanghai", "log.console": False, "log.file": False}), encoding="utf-8"
)
# Tests read lists and send orders faster than a person's account should.
(_VNTRADER / "broker_limits.json").write_text(
    json.dumps({"list_reads_per_second": 500, "orders_per_second": 200}), encoding="utf-8"
)
# Logins store passwords: never in the keychain of whoever runs the tests.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
os.environ["LANGUAGE"] = "zh_CN"  # the lines that tests wait for
os.environ["VNPY_TESTS_FOLDER"] = _HOME.name
_before = Path.cwd()
os.chdir(_HOME.name)
import vnpy.trader.utility  # noqa: E402  its folder is decided here

os.chdir(_before)
assert Path(_HOME.name).resolve() == vnpy.trader.utility.TRADER_DIR.resolve()

import pytest  # noqa: E402  after vn.py's folder is decided

pytest_plugins: tuple[str, ...] = ()
try:
    import PySide6.QtWidgets  # noqa: F401  only whether it can be
except ImportError:  # a Qt library is missing: the GUI tests skip with that reason, the others run
    pass
else:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("PYTEST_QT_API", "pyside6")
    pytest_plugins = ("pytestqt.plugin",)

from tests.harness import DATA, Rig  # noqa: E402  it imports vn.py

WORKERS_A_CORE = 2
MOST_WORKERS = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite waits more than it works: two processes a core. Named tests run in this one."""
    named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    return 0 if named else min(MOST_WORKERS, WORKERS_A_CORE * (os.cpu_count() or 1))


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A MainEngine with the gateway, beside a simulator on generated quotes; connect it with ``rig.connect()``."""
    with Rig() as made:
        yield made


@pytest.fixture
def data_rig() -> Iterator[Rig]:
    """The same on the real prices of the data folder."""
    if not DATA.exists():
        pytest.skip(f"the market data folder {DATA.name} is not beside the repository")
    with Rig(data=DATA) as made:
        yield made
