"""One long list of items -> parts that a model takes in one request, sent side by side, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway_core.tensors import Array

Answer = TypeVar("Answer")

# Enough to keep a model busy while the previous answers travel; more would only fill its queue.
PARTS_IN_FLIGHT = 4


@dataclass(frozen=True)
class Part:
    """The items ``start`` to ``stop`` (exclusive) of the whole list, as tensors."""

    start: int
    stop: int
    tensors: dict[str, Array]


def split(tensors: dict[str, Array], limit: int) -> list[Part]:
    """Parts of at most ``limit`` items each; a limit of 0 (a model without batching) counts as 1."""
    count = len(next(iter(tensors.values())))
    step = max(limit, 1)
    return [
        Part(start, min(start + step, count), {name: array[start : start + step] for name, array in tensors.items()})
        for start in range(0, count, step)
    ]


async def side_by_side(parts: Sequence[Part], send: Callable[[Part], Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """The answers in the parts' order; the first failure cancels the rest and is raised."""
    if len(parts) == 1:
        return [await send(parts[0])]
    gate = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def one(part: Part) -> Answer:
        async with gate:
            return await send(part)

    tasks = [asyncio.ensure_future(one(part)) for part in parts]
    try:
        return await _all(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all(tasks: Sequence[Awaitable[Answer]]) -> list[Answer]:
    return list(await asyncio.gather(*tasks))
