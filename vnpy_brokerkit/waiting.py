"""Waiting a bounded time, or for the first of several things, without ever losing a cancel.

Before Python 3.12 ``asyncio.wait_for`` swallows a cancel that comes in the very turn in which the awaited thing is
done. A task that goes on in a loop then never ends, and whoever waits for its end hangs for ever: a second
``connect()``, or ``close()``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns. Raises asyncio.TimeoutError when it takes longer, having cancelled it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # seen, also where a cancel of ours leaves nobody to hand it to
    if task.cancelled():
        raise asyncio.TimeoutError
    return task.result()


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Return when one of them is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def first_set(*events: asyncio.Event) -> None:
    """Return when one of them is set. Unlike :func:`first_of` it leaves nothing behind where it is never begun."""
    await first_of(*(event.wait() for event in events))
