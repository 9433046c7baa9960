"""``python -m slipway_serving``: serve a model repository, with this room's packages alone."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slipway_core.errors import SlipwayError
from slipway_serving import ServeOptions, start
from slipway_serving.options import DOCKER_IMAGE


class _Kind(StrEnum):
    AUTO = "auto"
    EMBEDDED = "embedded"
    PATH = "path"
    DOCKER = "docker"


def serve(  # noqa: PLR0913, PLR0917  a command's options are its parameters
    repository: Annotated[Path, typer.Argument(help="Triton's model repository.")] = Path("model_repository"),
    server: Annotated[_Kind, typer.Option(help="Which Triton: the wheel's, one on PATH, or Docker's.")] = _Kind.AUTO,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(help="0: a free one.")] = 8000,
    grpc_port: Annotated[int, typer.Option(help="0: a free one.")] = 8001,
    metrics_port: Annotated[int, typer.Option(help="0: a free one.")] = 8002,
    ready_timeout: Annotated[float, typer.Option(help="Seconds until every model must answer.")] = 60.0,
    drain: Annotated[float, typer.Option(help="Seconds that requests in flight may take at the end.")] = 10.0,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Serve the rest when a model is broken.")] = False,
    docker_image: Annotated[str, typer.Option(help="The image for --server docker.")] = DOCKER_IMAGE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show Triton's whole log.")] = False,
) -> None:
    """Serve a model repository with Triton until Ctrl-C."""
    try:
        options = ServeOptions(
            repository=repository,
            server=server.value,
            host=host,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=metrics_port,
            verbose=verbose,
            ready_timeout_s=ready_timeout,
            drain_s=drain,
            keep_going=keep_going,
            docker_image=docker_image,
        )
        # A signal may come before wait() takes it; once Triton runs it means "stop", not "failed".
        with start(options) as running, suppress(KeyboardInterrupt):
            typer.echo(f"Triton is ready: {', '.join(running.models())}")
            typer.echo(f"gRPC {running.grpc_address}  HTTP http://{running.http_address}")
            running.wait()
    except SlipwayError as e:
        typer.echo(f"slipway: {e}", err=True)
        sys.exit(1)


def main() -> None:
    """Run the command."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # under nohup a closed terminal is to be ignored
            signal.signal(number, signal.default_int_handler)
    typer.run(serve)


if __name__ == "__main__":
    main()
