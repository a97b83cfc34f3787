"""What is large is read and written beside the event loop, which serves the others meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")

LARGE = 2**18
"""Bytes from which on a thread of its own is worth its cost."""
NUMBER = 20
"""Bytes that a number in JSON takes at most, about."""


async def apart(thread: Executor, size: int, work: Callable[[], T]) -> T:
    """What comes of work on so many bytes: at once where they are few, else from a thread."""
    if size < LARGE:
        return work()
    return await asyncio.get_running_loop().run_in_executor(thread, work)
