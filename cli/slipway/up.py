"""``slipway up``: everything from nothing to answers, in one command, until Ctrl-C."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slipway import show
from slipway.endings import stop_signals
from slipway.frontend_process import FrontendProcess, free_port
from slipway.greeting import greet
from slipway.places import DEFAULT_REPOSITORY, RepositoryOption
from slipway.prepare import cards_here, prepare
from slipway.serve import (
    GrpcPortOption,
    HostOption,
    HttpPortOption,
    MetricsPortOption,
    ServerKind,
    ServerOption,
    VerboseOption,
)
from slipway_core.errors import InvalidCard

if TYPE_CHECKING:
    from slipway_serving import Server

LOOPBACK = "127.0.0.1"
WATCH_INTERVAL_S = 0.2


def up(
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    server: ServerOption = ServerKind.AUTO,
    host: Annotated[
        str,
        typer.Option(
            envvar="SLIPWAY_HOST",
            help="Address that the frontend binds to, and the frontend alone; 0.0.0.0 opens it to the network.",
        ),
    ] = LOOPBACK,
    frontend_port: Annotated[
        int, typer.Option(envvar="SLIPWAY_HTTP_PORT", min=0, max=65535, help="The frontend's; 0: a free one.")
    ] = 8080,
    triton_host: HostOption = LOOPBACK,
    http_port: HttpPortOption = 8000,
    grpc_port: GrpcPortOption = 8001,
    metrics_port: MetricsPortOption = 8002,
    verbose: VerboseOption = False,
) -> None:
    """Train and export what is missing, start Triton and the frontend, ask each model once, run until Ctrl-C."""
    from slipway_serving import ServeOptions, require_free_ports, start

    frontend_port = free_port(host, frontend_port)
    options = ServeOptions(
        repository=repository,
        server=server.value,
        host=triton_host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        verbose=verbose,
        log=show.note,
    )
    require_free_ports(options)  # before minutes of training
    cards = cards_here()
    if not cards:
        raise InvalidCard("cards", str(Path.cwd()), "there are no cards in export/cards or cards")
    prepare(cards, repository)
    show.note("starting Triton")
    with start(options) as triton:
        frontend = FrontendProcess(host, frontend_port, triton.grpc_address)
        try:
            frontend.wait_until_ready()
            greet(cards.values(), frontend.address)
            triton.check()
            _show_addresses(frontend.address, triton)
            _warn(host, triton_host)
            _run(frontend, triton)
        finally:
            frontend.stop()


def _run(frontend: FrontendProcess, triton: Server) -> None:
    """Return when a signal asks for the end; a second one interrupts what follows."""
    with stop_signals() as stopped:
        show.line("\nCtrl-C stops everything.")
        while not stopped.wait(WATCH_INTERVAL_S):
            frontend.revive()
            triton.check()
    show.note("stopping")


def _warn(host: str, triton_host: str) -> None:
    """Say what anybody on the network may do now."""
    if not _is_loopback(host):
        show.note(f"\nwarning: there is no authentication yet; whoever reaches {host} can use the frontend")
    if not _is_loopback(triton_host):
        show.note(f"\nwarning: whoever reaches {triton_host} can use Triton, and load and unload its models")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _show_addresses(address: str, triton: Server) -> None:
    show.line(f"\npage      http://{address}/")
    show.line(f"API docs  http://{address}/docs")
    show.line(f"Triton    gRPC {triton.grpc_address}  HTTP http://{triton.http_address}")
    show.line(f"metrics   http://{triton.metrics_address}/metrics")
