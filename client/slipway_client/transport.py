"""The seam below the client: one method that carries every call, its gRPC form, and a fake beside it in ``fake``."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol

import grpc.aio

from slipway_client.grpc_errors import CallFacts, never_sent, translated
from slipway_client.rpcs import Received, Rpc, Sent
from slipway_core.errors import InvalidInput

DEFAULT_ADDRESS = "127.0.0.1:8001"
DEFAULT_PORT = 8001
INT32_MAX = 2**31 - 1
RETRY_AFTER_S = 0.15

_CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", INT32_MAX),
    ("grpc.max_receive_message_length", INT32_MAX),
    # Triton closes connections that ping more often than every 300 s; deadlines notice a hanging server anyway.
    ("grpc.keepalive_time_ms", 320_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # gRPC's own back-off grows to two minutes, during which a restarted Triton would look dead.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Clients of one process must not share a connection that one of them closes or saturates.
    ("grpc.use_local_subchannel_pool", 1),
    # Triton is a neighbour; an http_proxy in the environment is meant for the world outside.
    ("grpc.enable_http_proxy", 0),
)


class Transport(Protocol):
    """Carries messages to a Triton and its answers back.

    ``call`` raises classes of ``slipway_core.errors`` and nothing foreign; ``deadline_s`` bounds the whole call.
    """

    @property
    def address(self) -> str:
        """Where the Triton is, for messages that people read."""
        ...

    async def call(self, rpc: Rpc[Sent, Received], request: Sent, *, deadline_s: float) -> Received:
        """Send one message and wait for its answer, at most ``deadline_s`` seconds."""
        ...

    async def close(self) -> None:
        """Release the connection; later calls raise RuntimeError."""
        ...


class GrpcTransport:
    """One gRPC connection to a Triton; made on the first call, and bound to that call's event loop.

    A call that found nothing listening is tried once more after 0.15 s, because such a call cannot have run.
    Nothing else is ever repeated: after a connection breaks nobody knows whether Triton ran the request.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS) -> None:
        self._address = parse_address(address)
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._address

    async def call(self, rpc: Rpc[Sent, Received], request: Sent, *, deadline_s: float) -> Received:
        """Send one message; see :class:`Transport`."""
        facts = CallFacts(rpc.name, request, self._address, deadline_s)
        ends_at = asyncio.get_running_loop().time() + deadline_s
        try:
            return await self._attempt(rpc, request, deadline_s)
        except grpc.aio.AioRpcError as e:
            if not never_sent(e) or deadline_s <= RETRY_AFTER_S:
                raise translated(e, facts) from None
        await asyncio.sleep(RETRY_AFTER_S)
        try:
            return await self._attempt(rpc, request, ends_at - asyncio.get_running_loop().time())
        except grpc.aio.AioRpcError as e:
            raise translated(e, facts) from None

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def _attempt(self, rpc: Rpc[Sent, Received], request: Sent, timeout_s: float) -> Received:
        channel = self._connection()
        method = channel.unary_unary(
            rpc.path,
            request_serializer=rpc.request.SerializeToString,
            response_deserializer=rpc.response.FromString,
        )
        return await method(request, timeout=max(timeout_s, 0.001))

    def _connection(self) -> grpc.aio.Channel:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise RuntimeError("this client is closed; make a new one")
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                "this AsyncClient was first used in another event loop; "
                "make one per loop, or use Client, which works from any thread"
            )
        return self._channel


def parse_address(address: str) -> str:
    """``host:port`` from ``host``, ``host:port``, ``[v6]:port`` or any of them behind ``grpc://``.

    The port defaults to 8001. Raises :class:`InvalidInput` for anything else.
    """
    plain = address.strip().removeprefix("grpc://").rstrip("/")
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?", plain)
    if match is None or not 0 < int(match.group(2) or DEFAULT_PORT) < 65536:
        raise InvalidInput(
            f"{address!r} is no address of a Triton's gRPC port; give host:port, such as {DEFAULT_ADDRESS}"
        )
    return f"{match.group(1)}:{match.group(2) or DEFAULT_PORT}"
