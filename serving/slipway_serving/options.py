"""What a caller can ask of :func:`slipway_serving.start`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from slipway_core.errors import CannotServe

ServerKind: TypeAlias = Literal["auto", "embedded", "path", "docker"]
DOCKER_IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"


def to_stderr(line: str) -> None:
    """Print a line of the log."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def unfailing(log: Callable[[str], None]) -> Callable[[str], None]:
    """The same log; on a full disk or a closed terminal its lines are lost, and whoever wrote them goes on."""

    def tell(line: str) -> None:
        with suppress(Exception):
            log(line)

    return tell


@dataclass(frozen=True)
class ServeOptions:
    """How to serve a repository. A port of 0 takes a free one.

    ``ready_timeout_s`` bounds the start until every model answers; ``drain_s`` how long requests in flight may
    take when the server stops. ``keep_going`` serves what can be served when a model is broken; otherwise one broken
    model refuses the start. A Triton that dies ``deaths_per_minute`` times within a minute is given up, before that it
    is started again; so is one that answers nothing for ``hung_s`` seconds, and one that holds the memory of
    ``lost_workers`` dead workers, which Triton keeps of those that die at work. A worker that a signal has stopped for
    ``hung_s`` seconds is replaced as a dead one is. ``log`` gets Triton's log and slipway's own, line by line, from any
    thread; a line that it cannot write is lost, and nothing else.
    """

    repository: Path
    server: ServerKind = "auto"
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    verbose: bool = False
    ready_timeout_s: float = 60.0
    drain_s: float = 10.0
    keep_going: bool = False
    deaths_per_minute: int = 5
    hung_s: float = 15.0
    lost_workers: int = 50
    docker_image: str = DOCKER_IMAGE
    log: Callable[[str], None] = to_stderr

    def __post_init__(self) -> None:
        ports = [port for port in (self.http_port, self.grpc_port, self.metrics_port) if port]
        if len(set(ports)) != len(ports):
            raise CannotServe("HTTP, gRPC and metrics need three different ports", "0 takes a free one")
        if any(not 0 <= port < 65536 for port in ports):
            raise CannotServe(f"there is no port {max(ports, key=abs)}", "a port is a number from 0 to 65535")
        if self.ready_timeout_s <= 0 or self.hung_s <= 0 or self.drain_s < 0:
            raise CannotServe("a time to wait must not be negative", "give seconds")
