"""Work of the processor that would make other requests wait goes to a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

# Below it the longest hold-up is about 20 ms, and a thread would cost more than it spares.
LARGE_BYTES = 256 * 1024

# Few, because they share the interpreter anyway, and what they take apart is many times its text in memory.
_THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="slipway-large")

Given = ParamSpec("Given")
Made = TypeVar("Made")


async def offloaded(size_bytes: int, work: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
    """``work(...)``, at once when it handles little; in a thread, one after the other, when it handles much.

    A thread lets others run between two steps of Python, not within one call of C: large work should have many.
    """
    if size_bytes <= LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*args, **kwargs))
