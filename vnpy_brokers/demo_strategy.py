"""The example strategy in the demo: begun, initialised and started as a person would, on the embedded simulator only.

It trades a symbol of its own, beside the scripted buy and sell, in the demo's vn.py folder: a copy of the example lies
in the folder ``strategies`` there, where vn.py's CTA page finds it, too.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from enum import Enum, auto
from functools import wraps
from pathlib import Path
from threading import Event as Flag
from typing import Any

from vnpy.event import EVENT_TIMER, Event
from vnpy.trader.engine import MainEngine
from vnpy.trader.utility import TRADER_DIR
from vnpy_ctastrategy.base import APP_NAME
from vnpy_ctastrategy.engine import CtaEngine

from vnpy_brokerkit.i18n import _

from .adopt import CtaStrategyApp

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "strategies" / "crossing_averages.py"
CLASS_NAME = "CrossingAverages"
NAME = "crossing_averages"
VT_SYMBOL = "SPY.SMART"
SETTING: Mapping[str, Any] = {"fast_window": 3, "slow_window": 8, "volume": 100, "history_days": 5}
"""Short averages, so that minutes show something; five days, so that a weekend does not leave them without bars."""
WAIT = 20
"""Events of vn.py's timer, once a second. Its bars are many requests: the first quotes and fills come before them."""

logger = logging.getLogger(__name__)


class Stage(Enum):
    """Where the strategy is."""

    WAITING = auto()
    INITIALISING = auto()
    ENDED = auto()
    """It runs, or a line has said why not."""


def _guarded(handler: Callable[[DemoStrategy, Event], None]) -> Callable[[DemoStrategy, Event], None]:
    """vn.py's event thread ends for good when a handler raises, so none may."""

    @wraps(handler)
    def guarded(self: DemoStrategy, event: Event) -> None:
        try:
            handler(self, event)
        except Exception:  # let out, it would end vn.py's event thread: it is logged whole
            self.stage = Stage.ENDED
            logger.exception("demo strategy: %s", handler.__name__)

    return guarded


class DemoStrategy:
    """Brings the example up, driven by vn.py's timer; no call of it waits.

    ``stage`` belongs to the event thread.
    """

    def __init__(self, main_engine: MainEngine, source: str, *, after: Flag, example: Path = EXAMPLE) -> None:
        """``source`` stands beside its log lines; it begins when ``after`` is set, or 20 s have passed."""
        self.stage = Stage.WAITING
        self._main_engine = main_engine
        self._source = source
        self._after = after
        self._example = example
        self._timers = 0
        self._cta: CtaEngine
        self._initialising: Future[None]

    def start(self) -> None:
        """Add the strategy. Call it in the demo's folder, before the gateways connect: they load its contract first."""
        if not self._example.exists():
            self._log(_("演示：没有找到示例策略 {}，本次不运行策略").format(self._example.name))
            return
        folder = TRADER_DIR / "strategies"
        folder.mkdir(exist_ok=True)
        shutil.copy(self._example, folder)
        if APP_NAME not in self._main_engine.apps:
            self._main_engine.add_app(CtaStrategyApp)
        cta = self._main_engine.get_engine(APP_NAME)
        assert isinstance(cta, CtaEngine)
        self._cta = cta
        cta.init_engine()
        cta.add_strategy(CLASS_NAME, NAME, VT_SYMBOL, dict(SETTING))
        self._main_engine.event_engine.register(EVENT_TIMER, self._on_timer)

    @_guarded
    def _on_timer(self, event: Event) -> None:
        self._timers += 1
        if self.stage is Stage.WAITING and (self._after.is_set() or self._timers > WAIT):
            self._initialise()
        elif self.stage is Stage.INITIALISING and self._initialising.done():
            self.stage = Stage.ENDED
            self._begin()

    def _initialise(self) -> None:
        contract = self._main_engine.get_contract(VT_SYMBOL)
        if contract is None:
            return
        if getattr(self._main_engine.gateways[contract.gateway_name], "embedded", False) is not True:
            self.stage = Stage.ENDED
            self._log(_("演示：{} 连接的不是内置模拟，不运行策略").format(contract.gateway_name))
            return
        self.stage = Stage.INITIALISING
        self._initialising = self._cta.init_strategy(NAME)

    def _begin(self) -> None:
        strategy = self._cta.strategies[NAME]
        if self._initialising.exception() is not None or not strategy.inited:
            self._log(_("演示：示例策略初始化失败，没有启动；原因见上面的日志"))
            return
        if not strategy.closes.inited:
            self._log(_("演示：没有取得 {} 的历史K线，示例策略的均线要等实时K线").format(VT_SYMBOL))
        self._cta.start_strategy(NAME)
        text = _("演示：示例策略 {} 已在 {} 启动，每分钟决定一次买卖")
        self._log(text.format(CLASS_NAME, VT_SYMBOL))

    def _log(self, text: str) -> None:
        self._main_engine.write_log(text, self._source)
