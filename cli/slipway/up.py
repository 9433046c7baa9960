"""``slipway up``: everything from nothing to answers, in one command, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from slipway import show
from slipway.frontend_process import FrontendProcess, free_port
from slipway.greeting import first_request, raw_curl
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
from slipway_core.card import ModelCard
from slipway_core.errors import InvalidCard

if TYPE_CHECKING:
    from slipway_serving import Server

WATCH_INTERVAL_S = 0.2


def up(
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    server: ServerOption = ServerKind.AUTO,
    host: HostOption = "127.0.0.1",
    frontend_port: Annotated[
        int, typer.Option(envvar="SLIPWAY_HTTP_PORT", min=0, max=65535, help="The frontend's; 0: a free one.")
    ] = 8080,
    http_port: HttpPortOption = 8000,
    grpc_port: GrpcPortOption = 8001,
    metrics_port: MetricsPortOption = 8002,
    verbose: VerboseOption = False,
) -> None:
    """Train and export what is missing, start Triton and the frontend, ask each model once, run until Ctrl-C."""
    from slipway_serving import ServeOptions, start

    frontend_port = free_port(host, frontend_port)
    cards = cards_here()
    if not cards:
        raise InvalidCard("cards", str(Path.cwd()), "there are no cards in export/cards or cards")
    prepare(cards, repository)
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
    with _StopSignal().installed() as stopped:
        show.note("starting Triton")
        with start(options) as triton:
            frontend = FrontendProcess(host, frontend_port, triton.grpc_address)
            try:
                frontend.wait_until_ready()
                _greet(list(cards.values()), frontend.address, triton)
                while not stopped.wait(WATCH_INTERVAL_S):
                    frontend.revive()
                    triton.check()
                show.note("stopping")
            finally:
                frontend.stop()


class _StopSignal:
    """SIGINT and SIGTERM: the first one while the stack runs ends it in order, any other interrupts at once.

    What an interrupt leaves running is stopped by Triton's guardian, which sees this process go.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._in_order = False

    def wait(self, timeout_s: float) -> bool:
        """Whether a signal came within the time; from the first call on, one ends the stack in order."""
        self._in_order = True
        return self._stopped.wait(timeout_s)

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        if not self._in_order or self._stopped.is_set():
            raise KeyboardInterrupt
        self._stopped.set()

    @contextmanager
    def installed(self) -> Generator[_StopSignal]:
        """Listen; the old handlers come back afterwards."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._received)
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _greet(cards: list[ModelCard], address: str, triton: Server) -> None:
    """Ask each model once and print the answers, lines to paste, and the addresses."""
    pastes: list[str] = []
    for card in cards:
        request = first_request(card, address)
        if request is None:
            show.note(f"{card.name}: not asked, its card names no example (or its samples are gone)")
            continue
        answer = request.send(address)
        prediction = answer["predictions"][0]
        chosen = prediction.get("label", prediction.get("value"))
        show.line(f"{card.name}/{answer['version']} answers: {chosen}")
        pastes.append(request.curl)
    pastes += [line for card in cards if (line := raw_curl(card, address))]
    show.line("\nTry these:")
    for paste in pastes:
        show.line(f"  {paste}")
    show.line(f"\npage      http://{address}/")
    show.line(f"API docs  http://{address}/docs")
    show.line(f"Triton    gRPC {triton.grpc_address}  HTTP http://{triton.http_address}")
    show.line(f"metrics   http://{triton.metrics_address}/metrics")
    show.line("\nCtrl-C stops everything.")
