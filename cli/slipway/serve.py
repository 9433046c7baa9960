"""``slipway serve``: run Triton on a model repository until Ctrl-C."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipway import show
from slipway.places import DEFAULT_REPOSITORY


class ServerKind(StrEnum):
    """Which Triton to run."""

    AUTO = "auto"
    EMBEDDED = "embedded"
    PATH = "path"
    DOCKER = "docker"


ServerOption = Annotated[ServerKind, typer.Option(help="Which Triton: the wheel's, one on PATH, or Docker's.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's whole log.")]
HostOption = Annotated[str, typer.Option(envvar="SLIPWAY_TRITON_HOST", help="Address that Triton binds to.")]
HttpPortOption = Annotated[
    int, typer.Option(envvar="SLIPWAY_TRITON_HTTP_PORT", min=0, max=65535, help="0: a free one.")
]
GrpcPortOption = Annotated[
    int, typer.Option(envvar="SLIPWAY_TRITON_GRPC_PORT", min=0, max=65535, help="0: a free one.")
]
MetricsPortOption = Annotated[
    int, typer.Option(envvar="SLIPWAY_TRITON_METRICS_PORT", min=0, max=65535, help="0: a free one.")
]


def serve(
    repository: Annotated[
        Path, typer.Argument(envvar="SLIPWAY_REPOSITORY", help="Triton's model repository.")
    ] = DEFAULT_REPOSITORY,
    server: ServerOption = ServerKind.AUTO,
    host: HostOption = "127.0.0.1",
    http_port: HttpPortOption = 8000,
    grpc_port: GrpcPortOption = 8001,
    metrics_port: MetricsPortOption = 8002,
    verbose: VerboseOption = False,
) -> None:
    """Run Triton on a model repository until Ctrl-C; a dead worker is replaced, models are reloaded by activation."""
    from slipway_serving import ServeOptions, start

    options = ServeOptions(
        repository=repository,
        server=server.value,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        verbose=verbose,
        log=show.note,
    )
    with start(options) as running:
        show.line(f"Triton is ready: {', '.join(running.models())}")
        show.line(
            f"gRPC {running.grpc_address}  HTTP http://{running.http_address}  metrics http://{running.metrics_address}/metrics"
        )
        show.line("Ctrl-C stops it")
        running.wait()
