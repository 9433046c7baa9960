"""A Triton made of Python: a real gRPC server in this process that speaks Triton's own messages."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from slipway_client import FakeTransport, Rpc, rpcs
from slipway_core.errors import ModelNotFound, SlipwayError

Script = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]
RPCS = [value for value in vars(rpcs).values() if isinstance(value, Rpc)]


class InProcessTriton:
    """Answers from a :class:`FakeTransport`; a script for a call's name takes that call over."""

    def __init__(self, models: FakeTransport) -> None:
        self.models = models
        self.scripts: dict[str, Script] = {}
        self.taken: Counter[str] = Counter()
        self.cancelled = threading.Event()
        self.address = ""
        self._loop = asyncio.new_event_loop()
        self._server: grpc.aio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def refuse(self, rpc: str, code: grpc.StatusCode, details: str) -> None:
        """Have every such call end with this status."""

        async def refused(_: Any, context: grpc.aio.ServicerContext) -> None:
            await context.abort(code, details)

        self.scripts[rpc] = refused

    def hang(self, rpc: str) -> None:
        """Have every such call wait for ever; ``cancelled`` tells when one was given up."""

        async def hanging(_: Any, __: grpc.aio.ServicerContext) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        self.scripts[rpc] = hanging

    def start(self, port: int = 0) -> None:
        """Listen on a free port, or on a given one."""
        if not self._thread.is_alive():
            self._thread.start()
        self._wait(self._listen(port))

    def stop(self) -> None:
        """Close every connection at once."""
        assert self._server is not None
        self._wait(self._server.stop(None))

    def end(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, port: int) -> None:
        limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.aio.server(options=limits)
        handlers = {rpc.name: self._handler(rpc) for rpc in RPCS}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpcs.SERVICE, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{port}')}"
        await self._server.start()

    def _handler(self, rpc: Rpc[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            self.taken[rpc.name] += 1
            script = self.scripts.get(rpc.name)
            if script is not None:
                return await script(request, context)
            try:
                return await self.models.call(rpc, request, deadline_s=1)
            except ModelNotFound as e:
                which = f"'{e.model}'" + (f" version {e.version}" if e.version else "")
                await context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: {which} is not found")
            except SlipwayError as e:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(e))

        return grpc.unary_unary_rpc_method_handler(answer, rpc.request.FromString, rpc.response.SerializeToString)

    def _wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


@contextmanager
def in_process_triton(models: FakeTransport) -> Iterator[InProcessTriton]:
    """A running one, ended with the block."""
    triton = InProcessTriton(models)
    triton.start()
    try:
        yield triton
    finally:
        triton.end()
