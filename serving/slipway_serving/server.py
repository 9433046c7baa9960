"""Running a Triton: start it, keep it running, stop it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from slipway_core.errors import CannotServe
from slipway_serving import facts, ports
from slipway_serving.checks import check_port
from slipway_serving.finding import find_triton
from slipway_serving.installation import Docker, Embedded, Installation
from slipway_serving.launch import Ports
from slipway_serving.life import Life, Plan, discard
from slipway_serving.options import ServeOptions, unfailing
from slipway_serving.patience import pause_before

if TYPE_CHECKING:
    from slipway_serving.repository import Repository

PORT_TRIES = 3


def start(options: ServeOptions) -> Server:
    """Start a Triton on a model repository; returns when every model answers.

    Raises :class:`CannotServe` (or :class:`MissingExtra`) with one clear line when this machine cannot run one, and
    :class:`RepositoryBroken` naming the model that cannot be served. Nothing is left running then.
    """
    begin = time.monotonic()
    options = replace(options, log=unfailing(options.log))
    installation = find_triton(options)
    # Here, so that `slipway doctor` does without gRPC and protobuf.
    from slipway_serving.repository import read_repository

    repository = read_repository(options.repository)
    if not options.keep_going:
        repository.require_whole()
    if isinstance(installation, Embedded):
        facts.shared_memory(repository.workers).require()
    _tell(options, repository, installation)
    restarts: dict[str, int] = {}
    plan, life, models = _begin_on_free_ports(options, installation, repository, restarts)
    options.log(f"Triton is up after {time.monotonic() - begin:.1f} s: {installation}")
    return Server(plan, life, models, restarts)


class Server:
    """A running Triton. It is started again when it dies, and its dead workers are replaced; :meth:`stop` ends it.

    ``restarts`` counts by model how often its workers were replaced, ``triton_restarts`` how often Triton itself was.
    """

    def __init__(self, plan: Plan, life: Life, models: list[str], restarts: dict[str, int]) -> None:
        self._plan, self._life, self._models, self.restarts = plan, life, models, restarts
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._stop_lock = threading.Lock()
        self._failure: CannotServe | None = None
        self._trouble = ""
        self.triton_restarts = 0
        self._keeper = threading.Thread(target=self._keep, name="slipway-keeper", daemon=True)
        self._keeper.start()

    @property
    def grpc_address(self) -> str:
        """``host:port`` for clients on this machine."""
        return ports.address(self._plan.ports.host, self._plan.ports.grpc)

    @property
    def http_address(self) -> str:
        """``host:port`` for clients on this machine."""
        return ports.address(self._plan.ports.host, self._plan.ports.http)

    @property
    def metrics_address(self) -> str:
        """``host:port`` for clients on this machine."""
        return ports.address(self._plan.ports.host, self._plan.ports.metrics)

    @property
    def pid(self) -> int:
        """The process id of the Triton that runs now; of the docker client for a container."""
        return self._life.pid

    def models(self) -> list[str]:
        """The models that answered when Triton started, sorted."""
        return list(self._models)

    def check(self) -> None:
        """Raise :class:`CannotServe` when Triton died too often and was given up."""
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Block until the server has ended; in the main thread SIGINT, SIGTERM and SIGHUP stop it, another at once.

        Raises :class:`CannotServe` when Triton died too often and was given up.
        """
        with _signals() as signalled:
            while not self._ended.wait(0.2):
                if signalled:
                    stopping = threading.Thread(target=self.stop, daemon=True)
                    stopping.start()
                    while stopping.is_alive():
                        if len(signalled) > 1:
                            self._life.triton.kill()
                        stopping.join(0.05)
        self.check()

    def stop(self) -> None:
        """Let requests in flight finish within the options' ``drain_s``, then end Triton. May be called twice."""
        self._stopping.set()
        with self._stop_lock:
            self._life.end(self._plan.options.drain_s)
            self._keeper.join()
            self._life.kill()  # another one, if it was just being started again
            self._ended.set()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _keep(self) -> None:
        """Start Triton again whenever it ends by itself, until it does so too often."""
        deaths: deque[float] = deque()
        while True:
            life = self._life
            life.triton.wait()
            if self._stopping.is_set():
                return
            deaths.append(time.monotonic())
            while deaths[-1] - deaths[0] > 60:
                deaths.popleft()
            life.kill()
            if len(deaths) >= self._plan.options.deaths_per_minute:
                why = self._trouble or "; ".join(life.log.tail()[-2:])
                often = f"Triton {life.ended_words}, the last of {len(deaths)} deaths within a minute"
                self._give_up(f"{often}: {why}" if why else often)
                return
            why = f"could not be started again ({self._trouble})" if self._trouble else life.ended_words
            self._plan.options.log(f"Triton {why}; starting it again")
            if self._stopping.wait(pause_before(len(deaths) - 1)):
                return
            self._begin_again()

    def _begin_again(self) -> None:
        """Begin another life; one that does not come up ends, and so counts as a crash."""
        from slipway_serving.repository import read_repository

        begin = time.monotonic()
        try:
            repository = read_repository(self._plan.options.repository)
            self._life = Life(self._plan, repository, self.restarts)  # from now on stop() ends this one
            if self._stopping.is_set():
                return
            self._models = self._life.bring_up(repository, keep_going=True)
        except Exception as e:  # in a thread: whatever it is, somebody must hear of it
            discard(self._life)
            self._trouble = str(e)
            return
        self._trouble = ""
        self.triton_restarts += 1
        self._plan.options.log(
            f"Triton is up again after {time.monotonic() - begin:.1f} s (restart {self.triton_restarts})"
        )

    def _give_up(self, reason: str) -> None:
        self._failure = CannotServe(reason, "look at its log (--verbose), mend the cause and start it again")
        self._plan.options.log(reason)
        self._ended.set()


def _tell(options: ServeOptions, repository: Repository, installation: Installation) -> None:
    """Say what a person should know before the start."""
    for name in repository.unpublished:
        options.log(f"{name}: has no version yet and is not served; publish one: slipway export {name}")
    if isinstance(installation, Docker) and repository.in_python:
        options.log(f"models in Python run inside {installation.image}; image models need Pillow there")


def _begin_on_free_ports(
    options: ServeOptions, installation: Installation, repository: Repository, restarts: dict[str, int]
) -> tuple[Plan, Life, list[str]]:
    tries = PORT_TRIES if 0 in (options.http_port, options.grpc_port, options.metrics_port) else 1
    while True:
        plan = Plan(options, installation, _ports(options), facts.has_gpu(), os.environ.copy())
        try:
            return plan, *_begin(plan, repository, restarts)
        except CannotServe as e:
            tries -= 1
            # Somebody was quicker to take a port that was free a moment ago.
            if not tries or "already in use" not in e.reason.lower():
                raise


def _ports(options: ServeOptions) -> Ports:
    """The ports to bind; those that were asked for must be free."""
    require_free_ports(options)
    chosen: list[int] = []
    for port in (options.http_port, options.grpc_port, options.metrics_port):
        chosen.append(port or _another_free_port(options.host, chosen))
    return Ports(options.host, *chosen)


def require_free_ports(options: ServeOptions) -> None:
    """Raise :class:`CannotServe` for the first port that was asked for and cannot be had."""
    asked = (("HTTP", options.http_port), ("gRPC", options.grpc_port), ("metrics", options.metrics_port))
    for label, port in asked:
        if port:
            problem = ports.problem_with(options.host, port)
            check_port(label, port, f"--{label.lower()}-port", problem).require()


def _another_free_port(host: str, taken: list[int]) -> int:
    port = ports.free_port(host)
    while port in taken:
        port = ports.free_port(host)
    return port


def _begin(plan: Plan, repository: Repository, restarts: dict[str, int]) -> tuple[Life, list[str]]:
    life = Life(plan, repository, restarts)
    try:
        return life, life.bring_up(repository, plan.options.keep_going)
    except BaseException:
        discard(life)
        raise


@contextmanager
def _signals() -> Generator[list[int]]:
    """The signals that end a server as a growing list, where Python lets us: in the main thread."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup: it is to outlive its terminal
        del before[signal.SIGHUP]
    for number in before:
        signal.signal(number, lambda which, _: caught.append(which))
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
