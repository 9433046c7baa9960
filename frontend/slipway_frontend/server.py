"""The frontend as a process: one socket, uvicorn, and an orderly end."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from slipway_client import AsyncClient
from slipway_core.errors import CannotServe
from slipway_frontend.app import create_app
from slipway_frontend.protocol import connections
from slipway_frontend.settings import Settings

KEEP_ALIVE_S = 65  # longer than load balancers keep idle connections, so that they close them first


def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then let requests in flight finish for at most ``drain_s`` seconds.

    Prints the address once it answers. Must run in the main thread. Raises :class:`CannotServe` when the address
    cannot be bound.
    """
    client = AsyncClient(settings.triton_grpc, deadline_s=settings.deadline_s)
    _log_to_stderr(settings.log_level)
    listening = _bound(settings.host, settings.http_port)
    config = uvicorn.Config(
        create_app(settings, client),
        http=connections(settings.receive_timeout_s),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_s,
    )
    # uvicorn raises the signal again after its orderly end; that end is a success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ended_in_order)
    with listening:
        _Announcing(config, f"http://{_shown(listening)} (Triton at {settings.triton_grpc})").run([listening])


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, where: str) -> None:
        super().__init__(config)
        self._where = where

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"slipway frontend on {self._where}\n")
        sys.stdout.flush()


def _ended_in_order(_signal: int, _frame: FrameType | None) -> None:
    """Nothing is left to do."""


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as e:
        raise CannotServe(
            f"the frontend cannot listen on {host}:{port} ({e.strerror})",
            "stop what uses the port, or set SLIPWAY_HOST and SLIPWAY_HTTP_PORT",
        ) from None
    return bound


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("slipway").setLevel(level.upper())
