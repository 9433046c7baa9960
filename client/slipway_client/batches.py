"""One long list of items -> parts that a model takes in one request, sent side by side, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from slipway_core.tensors import Array

Answer = TypeVar("Answer")

# Enough to keep a model busy while the previous answers travel; more would only fill its queue.
PARTS_IN_FLIGHT = 4
# A handful of photos: an image model bounds the pixels of one request, and a message waits for its last byte.
PART_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Part:
    """The items ``start`` to ``stop`` (exclusive) of the whole list, as tensors."""

    start: int
    stop: int
    tensors: dict[str, Array]


def split(tensors: dict[str, Array], limit: int) -> list[Part]:
    """Parts of at most ``limit`` items each; a limit of 0 (a model without batching) counts as 1.

    Encoded images and other BYTES weigh at most ``PART_BYTES`` together, unless a single item weighs more.
    """
    count, most = len(next(iter(tensors.values()))), max(limit, 1)
    texts = [array for array in tensors.values() if array.dtype == np.object_]
    ends = _light_ends(texts, count, most) if texts else [*range(most, count, most), count]
    return [
        Part(start, stop, {name: array[start:stop] for name, array in tensors.items()})
        for start, stop in pairwise([0, *ends])
        if stop > start
    ]


def _light_ends(texts: Sequence[Array], count: int, most: int) -> list[int]:
    """Where parts end that have at most ``most`` items and ``PART_BYTES`` bytes."""
    ends: list[int] = []
    start = weight = 0
    for at in range(count):
        item = sum(len(element) for array in texts for element in array[at].ravel().tolist())
        if at > start and (at - start == most or weight + item > PART_BYTES):
            ends.append(at)
            start, weight = at, 0
        weight += item
    return [*ends, count]


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
