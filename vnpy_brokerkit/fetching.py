"""query_history from the caller's side: the one call that blocks its thread, for as long as there is progress."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING

from vnpy.trader.object import BarData, HistoryRequest

from .errors import HistoryError
from .history import Download, StrategyInitStopped, initialising_strategy
from .i18n import _
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from .async_gateway import AsyncGateway
    from .session import Session

LOOK = 1.0
"""Seconds between two looks of a waiting call at its download."""


def fetch(gateway: AsyncGateway, thread: LoopThread, request: HistoryRequest) -> list[BarData]:
    """Return the bars of a request, whole. Raises :class:`HistoryError`, having logged its line.

    Where one of vn.py's apps is initialising a strategy it raises :class:`StrategyInitStopped` instead: vn.py would
    start the strategy on a gap.
    """
    try:
        return _download(gateway, thread, request)
    except HistoryError as error:
        gateway.log(_("下载{}的历史数据失败：{}").format(request.vt_symbol, error.text))
        strategy = initialising_strategy()
        if strategy:
            gateway.log(_("策略{}的初始化已中止：没有完整的历史数据；请排除故障后重新初始化").format(strategy))
            raise StrategyInitStopped(str(error)) from error
        raise


def _download(gateway: AsyncGateway, thread: LoopThread, request: HistoryRequest) -> list[BarData]:
    loop, session, about = thread.loop, gateway.session, request.vt_symbol
    if loop is None or session is None:
        raise HistoryError(_("尚未连接，请先连接{}").format(gateway.gateway_name), about=about)
    if thread.is_current:
        raise HistoryError(_("不能在接口自己的线程里下载历史数据"), about=about)
    download = Download(request, gateway.kept_bars, gateway.clock, gateway.log, gateway.timing.history_most)
    answer = thread.submit(download.run(session.bars))
    if answer is None:
        raise HistoryError(_("接口正在关闭"), about=about)
    try:
        return _await(gateway, answer, download, session, loop)
    except CancelledError:
        raise HistoryError(_("接口正在关闭"), about=about) from None
    except HistoryError:
        raise
    except Exception as error:  # what else a room throws is a fault of ours: it is told, and is no list of bars
        gateway.log_trace(error)
        raise HistoryError(_("内部错误：{!r}；请将日志反馈给开发者").format(error), about=about) from error
    finally:
        answer.cancel()


def _await(
    gateway: AsyncGateway,
    answer: Future[list[BarData]],
    download: Download,
    session: Session,
    loop: asyncio.AbstractEventLoop,
) -> list[BarData]:
    """Wait as long as the download moves on; it ends by itself, and this is for a loop that does not."""
    while True:
        try:
            return answer.result(LOOK)
        except (TimeoutError, FutureTimeout):
            about = download.request.vt_symbol
            if answer.done() or download.left() < -LOOK:
                most = gateway.timing.history_most
                raise HistoryError(_("{:g}秒没有进展，已放弃").format(most), about=about) from None
            if gateway.session is not session or loop.is_closed():
                raise HistoryError(_("连接已关闭或重新建立，下载中断；请再次下载"), about=about) from None
