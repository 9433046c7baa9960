"""Where images are decoded: small ones at once, large ones in turns and behind everything else.

Copied into every published version beside ``decoding.py``; runs inside Triton.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from PIL.Image import Image

from .decoding import ImageRefused, Pixels, Preparation, decoded

_NICE = 10  # the kernel gives such a thread about a tenth of what one of Triton's own gets, where both want to run

# A request's images, or why it is refused.
Outcome = list[Pixels] | str


class Lanes:
    """Two pools of threads, each as wide as the machine; Pillow lets go of the interpreter's lock while it works."""

    def __init__(self, how: Preparation) -> None:
        self._how = how
        self._width = len(os.sched_getaffinity(0))
        self._small = ThreadPoolExecutor(self._width, "decode")
        self._large = ThreadPoolExecutor(self._width, "decode-large", initializer=_step_back)

    def at_once(self, requests: Sequence[Sequence[Image]]) -> list[Outcome]:
        """The outcome of each request, when all of them are decoded."""
        pending = [self._submitted(self._small, images) for images in requests]
        return [_finished(futures, 0) for futures in pending]

    async def in_turns(self, images: Sequence[Image], given_up: Callable[[], bool]) -> Outcome:
        """One request's outcome. No more of its images wait for a thread at a time than there are threads.

        So requests with many images take turns with others. Ends early where an image is refused, or where
        ``given_up`` says that nobody waits any more.
        """
        pixels: list[Pixels] = []
        for start in range(0, len(images), self._width):
            if given_up():
                return "the request was cancelled"
            futures = self._submitted(self._large, images[start : start + self._width])
            await asyncio.wait([asyncio.wrap_future(future) for future in futures])
            outcome = _finished(futures, start)
            if isinstance(outcome, str):
                return outcome
            pixels += outcome
        return pixels

    def close(self) -> None:
        """Begin no further image."""
        for pool in (self._small, self._large):
            pool.shutdown(wait=False, cancel_futures=True)

    def _submitted(self, pool: ThreadPoolExecutor, images: Sequence[Image]) -> list[Future[Pixels]]:
        return [pool.submit(decoded, image, self._how) for image in images]


def _finished(futures: Sequence[Future[Pixels]], first: int) -> Outcome:
    images: list[Pixels] = []
    refusal = ""
    for position, future in enumerate(futures, first):
        try:
            images.append(future.result())
        except ImageRefused as e:
            refusal = refusal or f"image {position}: {e}"
        except Exception as e:  # a fault of ours, or no memory: it must not fail the request's neighbours
            refusal = refusal or f"image {position}: cannot be decoded ({type(e).__name__})"
    return refusal or images


def _step_back() -> None:
    """Let this thread have what the others leave. Linux knows priorities of threads; a sandbox may forbid them."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
