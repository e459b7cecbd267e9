"""A datafeed of vn.py on a gateway: the connected one of this process, or a private one that nobody sees.

vn.py looks for ``vnpy_<datafeed.name>.Datafeed`` and hands it requests from any thread. Where no gateway of the kind
is connected the datafeed connects one by itself, with what the connect dialog saved last (内置模拟 where it never did).
The private gateway stands on an event engine that drops every event, sends no order, keeps no journal, and is closed
when it has been idle for a while, or with the process.
"""

from __future__ import annotations

import atexit
import json
import threading
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vnpy.event import Event, EventEngine
from vnpy.trader.datafeed import BaseDatafeed
from vnpy.trader.event import EVENT_LOG
from vnpy.trader.logger import logger
from vnpy.trader.object import BarData, HistoryRequest, TickData
from vnpy.trader.utility import TEMP_DIR

from .async_gateway import AsyncGateway
from .clock import Clock, SystemClock
from .errors import BrokerError, HistoryError
from .history import StrategyInitStopped, UnknownInstrument, initialising_strategy, known_gateways
from .i18n import _

CONNECT_WITHIN = 40.0
"""Seconds that a private gateway gets to be ready; the simulator's start takes some of them."""
IDLE = 60.0
"""Seconds without a request after which it is closed."""


class Nobody(EventEngine):
    """An event engine without a thread that hears nothing; log lines go to vn.py's log file."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.last_line = ""
        self._name = name
        self._news = threading.Event()

    def put(self, event: Event) -> None:
        if event.type == EVENT_LOG:
            self.last_line = event.data.msg
            logger.bind(gateway_name=self._name).info("{}", self.last_line)
        self._news.set()

    def wait(self, found: Callable[[], bool], seconds: float, clock: Clock) -> bool:
        """Wait until something is so, looking again at each event; return whether it is."""
        end = clock.monotonic() + seconds
        while not found():
            left = end - clock.monotonic()
            if left <= 0:
                return False
            self._news.wait(min(left, 0.5))
            self._news.clear()
        return True


class GatewayDatafeed(BaseDatafeed):
    """What both plugins' datafeeds share; a plugin names its gateway and tells what a private one connects with."""

    gateway_class: type[AsyncGateway]
    idle = IDLE
    connect_within = CONNECT_WITHIN

    def __init__(self) -> None:
        self._clock: Clock = SystemClock()
        # vn.py's apps ask from threads of their own, and one private gateway serves them all.
        self._lock = threading.Lock()
        self._private: AsyncGateway | None = None
        self._users = 0
        self._closing: threading.Timer | None = None
        self._ends_with_process = False
        self._told = False

    # ------------------------------------------------------------------ vn.py's side, any thread

    def init(self, output: Callable[[str], Any] = print) -> bool:
        """Tell whether the saved settings can be used; a connection is made when the first request comes."""
        try:
            self._setting()
        except HistoryError as error:
            output(error.text)
            return False
        return True

    def query_bar_history(self, req: HistoryRequest, output: Callable[[str], Any] = print) -> list[BarData]:
        """Return the bars of a request as the gateway's ``query_history`` does: whole, or it raises what that raises.

        An instrument that the broker does not have is one line and no bars: it may be another source's.
        """
        name = self.gateway_class.default_name
        if req.exchange not in self.gateway_class.exchanges:
            output(_("{}没有交易所{}，无法下载{}").format(name, req.exchange.value, req.vt_symbol))
            return []
        try:
            gateway = self._connected()
            return gateway.query_history(req) if gateway else self._query_privately(req, output)
        except UnknownInstrument as error:
            output(_("下载{}的历史数据失败：{}").format(req.vt_symbol, error.text))
            return []
        except HistoryError as error:
            output(_("下载{}的历史数据失败：{}").format(req.vt_symbol, error.text))
            if initialising_strategy():
                raise StrategyInitStopped(str(error)) from error
            raise
        except StrategyInitStopped as stopped:
            # The gateway's own line may stand in a log that nobody looks at.
            output(_("下载{}的历史数据失败：{}").format(req.vt_symbol, stopped))
            raise

    def query_tick_history(self, req: HistoryRequest, output: Callable[[str], Any] = print) -> list[TickData]:
        """Say that there are none: neither broker has ticks of days past for download."""
        output(_("{}不提供历史Tick；可用K线周期：1m、1h、d、w").format(self.gateway_class.default_name))
        return []

    def close(self) -> None:
        """End the private connection, if there is one; again is harmless, and a later request connects anew."""
        with self._lock:
            self._end()

    # ------------------------------------------------------------------ what a plugin provides

    @abstractmethod
    def private_setting(self, saved: dict[str, Any]) -> dict[str, Any]:
        """Return what a private gateway connects with; ``saved`` is what the connect dialog stored, {} without.

        Raises :class:`BrokerError`, one clear line, for settings that cannot be used.
        """

    # ------------------------------------------------------------------ inside

    def _connected(self) -> AsyncGateway | None:
        """The gateway of this kind on which somebody works; one that was added and never connected is of no use."""
        for gateway in known_gateways():
            if (
                isinstance(gateway, self.gateway_class)
                and gateway.session is not None
                and not isinstance(gateway.event_engine, Nobody)
            ):
                return gateway
        return None

    def _setting(self) -> dict[str, Any]:
        path = TEMP_DIR / f"connect_{self.gateway_class.default_name.lower()}.json"
        try:
            return self.private_setting(_saved(path))
        except HistoryError:
            raise
        except BrokerError as error:
            raise HistoryError(error.text, about=path.name) from None

    def _query_privately(self, req: HistoryRequest, output: Callable[[str], Any]) -> list[BarData]:
        with self._lock:
            if self._closing:
                self._closing.cancel()
                self._closing = None
            gateway = self._private or self._connect(req)
            self._users += 1
        try:
            if gateway.embedded and not self._told:
                self._told = True
                text = _("数据服务{}使用内置模拟，K线是模拟数据；要真实数据请先在VN Trader中连接一次真实环境")
                output(text.format(self.gateway_class.default_name))
            return gateway.query_history(req)
        finally:
            with self._lock:
                self._users -= 1
                if not self._users and self._private:
                    self._closing = threading.Timer(self.idle, self._close_idle)
                    self._closing.daemon = True
                    self._closing.start()

    def _connect(self, req: HistoryRequest) -> AsyncGateway:
        """Make and connect the private gateway. Raises :class:`HistoryError`. The lock is held."""
        setting = self._setting()
        name = f"{self.gateway_class.default_name}_DATAFEED"
        engine = Nobody(name)
        gateway = _private_kind(self.gateway_class)(engine, name)
        if not self._ends_with_process:
            atexit.register(self.close)
            self._ends_with_process = True
        gateway.connect(setting)
        if not engine.wait(lambda: gateway.findings.last is not None, self.connect_within, self._clock):
            gateway.close()
            raise HistoryError(
                _("数据服务{:g}秒内未能连接（{}）；请检查“{}”保存的连接设置").format(
                    self.connect_within, engine.last_line, self.gateway_class.default_name
                ),
                about=req.vt_symbol,
            )
        self._private = gateway
        return gateway

    def _close_idle(self) -> None:
        with self._lock:
            # A request that came in this very moment has taken the timer away.
            if threading.current_thread() is self._closing and not self._users:
                self._end()

    def _end(self) -> None:
        if self._closing:
            self._closing.cancel()
            self._closing = None
        if self._private:
            self._private.close()
            self._private = None


def _private_kind(kind: type[AsyncGateway]) -> type[AsyncGateway]:
    """The gateway without a journal: it sends no order, and another process may hold that file."""

    async def open_no_books(gateway: AsyncGateway, folder: Path, environment: str, account: str) -> None:
        return None

    return type("PrivateGateway", (kind,), {"open_books": open_no_books})


def _saved(path: Path) -> dict[str, Any]:
    """Read what a connect dialog stored. Raises :class:`HistoryError`, which never quotes the file."""
    try:
        # Notepad on Windows writes a byte order mark.
        saved = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        text = _("连接设置{}无法读取（{}）；请在VN Trader中重新连接一次")
        raise HistoryError(text.format(path.name, type(error).__name__), about=path.name) from None
    if not isinstance(saved, dict):
        raise HistoryError(_("连接设置{}无法读取（{}）；请在VN Trader中重新连接一次").format(path.name, "JSON"))
    return saved
