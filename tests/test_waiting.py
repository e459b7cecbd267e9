"""A bounded wait that never loses a cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from vnpy_brokerkit.waiting import within


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_it_returns_the_result_and_raises_the_error() -> None:
    async def good() -> int:
        return 7

    async def bad() -> int:
        raise ValueError("no")

    async def check() -> None:
        assert await within(5, good()) == 7
        with pytest.raises(ValueError, match="no"):
            await within(5, bad())

    run(check())


def test_what_takes_too_long_is_cancelled() -> None:
    async def check() -> None:
        ended: list[str] = []

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, slow())
        assert ended == ["cancelled"]

    run(check())


def test_a_cancel_in_the_turn_of_the_result_is_not_lost() -> None:
    """asyncio.wait_for of Python 3.10 and 3.11 fails this: a keeper would survive its session for ever."""

    async def check() -> None:
        news = asyncio.Event()
        rounds = 0

        async def keeper() -> None:
            nonlocal rounds
            while True:
                await within(5, news.wait())
                news.clear()
                rounds += 1

        task = asyncio.ensure_future(keeper())
        for turns in range(12):
            # The cancel comes so many turns of the loop after the event, the turn of the result among them.
            for _turn in range(3):
                await asyncio.sleep(0)
            news.set()
            for _turn in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            done, _pending = await asyncio.wait({task}, timeout=1)
            assert done, f"cancelled {turns} turns after the event, and still running"
            assert task.cancelled()
            news.clear()
            task = asyncio.ensure_future(keeper())
        task.cancel()
        await asyncio.wait({task})
        assert rounds

    run(check())


def test_a_cancel_while_it_waits_cancels_the_work() -> None:
    async def check() -> None:
        ended = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        task = asyncio.ensure_future(within(5, slow()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    run(check())
