"""One life of a Triton, from its start until nothing of it is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway_core.errors import CannotServe, RepositoryBroken
from slipway_serving import ports
from slipway_serving.guard import GuardedTriton
from slipway_serving.installation import Docker, Installation
from slipway_serving.launch import Ports, Settings, launch_of
from slipway_serving.log import TritonLog
from slipway_serving.options import ServeOptions
from slipway_serving.patience import Patience
from slipway_serving.runtime_folder import make_runtime_folder
from slipway_serving.workers import in_words

if TYPE_CHECKING:
    from slipway_client import Client
    from slipway_serving.pulse import Pulse
    from slipway_serving.repository import Repository
    from slipway_serving.watchdog import Watchdog

POLL_S = 0.02
# Workers take a second each to end, one after the other within a model; they have nothing to lose by then.
UNLOAD_GRACE_S = 3.0
KILL_GRACE_S = 10.0
HEED_S = 3.0  # Triton says at once that it has heard it is to end, unless it hangs
ANSWER_S = 5.0  # for questions that Triton answers at once; loading a model has the whole patience


@dataclass(frozen=True)
class Plan:
    """What every life of a server has in common. ``gpu``: the machine has one."""

    options: ServeOptions
    installation: Installation
    ports: Ports
    gpu: bool
    environment: Mapping[str, str]


class Life:
    """A running Triton with its log and its watchdog, which counts in ``restarts`` what it loads anew."""

    def __init__(self, plan: Plan, repository: Repository, restarts: dict[str, int]) -> None:
        self._plan, self._restarts = plan, restarts
        self.log = TritonLog(plan.options.log, plan.options.verbose)
        self._folder = make_runtime_folder(plan.installation)
        settings = Settings(
            repository=repository.path,
            ports=plan.ports,
            drain_s=plan.options.drain_s,
            auto_complete=not all(model.complete for model in repository.models),
            gpu=plan.gpu,
            cores=len(os.sched_getaffinity(0)),
        )
        launch = launch_of(plan.installation, settings, self._folder, plan.environment)
        self._repository = self._folder.repository_for(repository.path)
        self.triton = GuardedTriton(launch, self.log.feed)
        self._client: Client | None = None
        self._watchdog: Watchdog | None = None
        self._pulse: Pulse | None = None
        self._put_down_as = ""

    @property
    def pid(self) -> int:
        """Triton's process, or the docker client's."""
        return self.triton.pid

    @property
    def ended_words(self) -> str:
        """How a Triton that should run has ended."""
        return self._put_down_as or in_words(self.triton.status or 0)

    @property
    def grpc_address(self) -> str:
        return ports.address(self._plan.ports.host, self._plan.ports.grpc)

    def bring_up(self, repository: Repository, keep_going: bool) -> list[str]:
        """Wait for Triton, load every model, and give the names of those that answer.

        Raises :class:`RepositoryBroken` when a model would not load (with ``keep_going``: when none would), and
        :class:`CannotServe` when Triton ends or takes too long.
        """
        patience = Patience.from_now(self._plan.options.ready_timeout_s)
        client = self._connect(patience)
        from slipway_serving.loading import load_models
        from slipway_serving.repository import broken_line

        # From the first load on: a worker that nobody saw alive is nobody's when it is dead.
        self._watch(client)
        outcome = load_models(client, repository, patience, self.log.reason)
        if self.triton.ended.is_set():
            raise self._died("while it loaded the models")
        if outcome.broken:
            if not keep_going or not outcome.loaded:
                raise RepositoryBroken(str(repository.path), broken_line(outcome.broken))
            self._plan.options.log(f"not served: {broken_line(outcome.broken)}")
        self._await(lambda: all(client.model_ready(name) for name in outcome.loaded), patience)
        self._check_endpoints()
        self.log.starting = False
        self._listen()
        return sorted(outcome.loaded)

    def end(self, drain_s: float) -> None:
        """Let requests in flight finish for at most ``drain_s`` seconds and end Triton; returns when it is gone."""
        self.stop_watching()
        self.triton.stop()
        begin = time.monotonic()
        until, unloading = begin + HEED_S, False
        while not self.triton.wait(POLL_S) and time.monotonic() < until:
            if self.log.unloading.is_set():  # everything in flight has been answered
                if not unloading:
                    unloading, until = True, time.monotonic() + UNLOAD_GRACE_S
            elif self.log.stopping.is_set():
                until = begin + drain_s + UNLOAD_GRACE_S
        self.kill()

    def kill(self) -> None:
        """End Triton at once."""
        self.stop_watching()
        if not self.triton.ended.is_set():
            self.triton.kill()
            self.triton.wait(KILL_GRACE_S)
        if self._client is not None:
            self._client.close()

    def stop_watching(self) -> None:
        """From now on whatever happens to Triton is left to itself."""
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None
        if self._pulse is not None:
            self._pulse.stop()
            self._pulse = None

    def _watch(self, client: Client) -> None:
        """Have dead and frozen workers replaced. In a container they cannot be seen from outside."""
        if isinstance(self._plan.installation, Docker):
            return
        from slipway_serving.watchdog import Watchdog, Watched

        options = self._plan.options
        watched = Watched(
            pid=self.pid,
            repository=self._repository,
            client=client,
            address=self.grpc_address,
            lost_workers=options.lost_workers,
            hung_s=options.hung_s,
            put_down=self._put_down,
        )
        self._watchdog = Watchdog(watched, self._restarts, options.log)
        self._watchdog.start()

    def _listen(self) -> None:
        """Have a Triton that no longer answers noticed."""
        from slipway_serving.pulse import Pulse

        hung_s = self._plan.options.hung_s
        words = f"did not answer for {hung_s:g} s and was killed"
        self._pulse = Pulse(self.grpc_address, hung_s, lambda: self._put_down(words))
        self._pulse.start()

    def _put_down(self, words: str) -> None:
        """Kill a Triton that cannot go on; whoever waits for it is told its end in these words."""
        self._put_down_as = words
        self.triton.kill()

    def _connect(self, patience: Patience) -> Client:
        host = self._plan.ports
        # Imported while Triton starts, which takes as long.
        from slipway_client import Client

        listening = (host.grpc, host.http)
        self._await(lambda: all(ports.answers(host.host, port) for port in listening), patience)
        self._client = client = Client(self.grpc_address, deadline_s=ANSWER_S)
        self._await(client.live, patience)
        return client

    def _await(self, condition: Callable[[], bool], patience: Patience) -> None:
        while not condition():
            self._check_endpoints()
            if self.triton.ended.is_set():
                raise self._died("while it started")
            if not patience.left_s:
                raise CannotServe(
                    f"Triton did not answer within {patience.allowed_s:g} s",
                    "give it more time (--ready-timeout), or look at its log (--verbose)",
                )
            self.triton.wait(POLL_S)

    def _check_endpoints(self) -> None:
        if self.log.no_endpoint:
            raise CannotServe(f"Triton cannot serve {self.log.no_endpoint}", "choose another port; 0 takes a free one")

    def _died(self, when: str) -> CannotServe:
        said = "; ".join(self.log.tail()[-3:]) or "it said nothing"
        return CannotServe(f"Triton {in_words(self.triton.status or 0)} {when}: {said}", "its whole log: --verbose")


def discard(life: Life) -> None:
    """End a life that failed, whatever state it is in."""
    with suppress(Exception):
        life.kill()
