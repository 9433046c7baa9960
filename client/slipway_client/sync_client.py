"""The synchronous face: the same client, run by an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from slipway_client.async_client import DEADLINE_S, AsyncClient
from slipway_client.transport import DEFAULT_ADDRESS, Transport

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def _waiting_for(
    method: Callable[Concatenate[AsyncClient, Given], Coroutine[Any, Any, Returned]],
) -> Callable[Concatenate[Client, Given], Returned]:
    """A method of :class:`Client` that waits for the one of :class:`AsyncClient`; signature and doc are kept."""

    @wraps(method)
    def call(self: Client, *args: Given.args, **kwargs: Given.kwargs) -> Returned:
        return self._run(method, *args, **kwargs)  # pyright: ignore[reportPrivateUsage]

    return call


class Client:
    """:class:`AsyncClient` for code that waits. Safe to share between threads; not across a fork.

    Use it as a context manager or with :meth:`close`; afterwards every call raises RuntimeError.
    """

    def __init__(self, target: str | Transport = DEFAULT_ADDRESS, *, deadline_s: float = DEADLINE_S) -> None:
        self._client = AsyncClient(target, deadline_s=deadline_s)
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._loop.run_forever, name="slipway-client", daemon=True)
        thread.start()
        self._end = weakref.finalize(self, _end, self._client, self._loop, thread, self._process)

    predict = _waiting_for(AsyncClient.predict)
    classify = _waiting_for(AsyncClient.classify)
    infer = _waiting_for(AsyncClient.infer)
    models = _waiting_for(AsyncClient.models)
    model = _waiting_for(AsyncClient.model)
    live = _waiting_for(AsyncClient.live)
    ready = _waiting_for(AsyncClient.ready)
    model_ready = _waiting_for(AsyncClient.model_ready)
    index = _waiting_for(AsyncClient.index)
    load = _waiting_for(AsyncClient.load)
    unload = _waiting_for(AsyncClient.unload)
    statistics = _waiting_for(AsyncClient.statistics)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connection and end the thread; calls in flight are cancelled. May be called twice."""
        self._end()

    def _run(
        self,
        method: Callable[Concatenate[AsyncClient, Given], Coroutine[Any, Any, Returned]],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Returned:
        if os.getpid() != self._process:
            raise RuntimeError("this Client was made before a fork; make a new one in this process")
        if not self._end.alive:
            raise RuntimeError("this Client is closed; make a new one")
        waiting = asyncio.run_coroutine_threadsafe(method(self._client, *args, **kwargs), self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()  # Ctrl-C while waiting must not leave the request running
            raise


def _end(client: AsyncClient, loop: asyncio.AbstractEventLoop, thread: threading.Thread, process: int) -> None:
    if os.getpid() != process or not thread.is_alive():
        return

    async def shut() -> None:
        await client.aclose()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        loop.stop()

    asyncio.run_coroutine_threadsafe(shut(), loop)
    # The garbage collector may run this in the very thread that has to do the work.
    if threading.current_thread() is not thread:
        thread.join()
        loop.close()
