"""Notices dead and frozen workers, which Triton does not, and has their models loaded anew."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from slipway_client import Client
from slipway_serving import facts
from slipway_serving._guardian import SHARED_MEMORY
from slipway_serving.patience import pause_before
from slipway_serving.reviving import revive
from slipway_serving.workers import Child, Family, Worker, in_words, worker_at

LOOK_EVERY_S = 0.1
CALM_S = 60.0
# Triton collects a worker it has asked to end at once; one that ended by itself it never collects.
DEAD_AFTER_S, QUIETLY_DEAD_AFTER_S = 0.15, 2.0
LONGEST_STEP_S = 1.0


@dataclass
class Roll:
    """The workers of one Triton, kept from look to look: the dead no longer tell who they were."""

    repository: Path
    alive: dict[tuple[int, int], Worker] = field(default_factory=dict[tuple[int, int], Worker])
    _fallen: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    _reported: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    _stopped_s: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    _counted_at: float = 0.0

    def look(self, children: list[Child], now: float) -> list[tuple[Worker, int]]:
        """Workers found dead since the last look, each once, with their exit code."""
        dead: list[tuple[Worker, int]] = []
        present = {(child.pid, child.born): child for child in children}
        for key, child in present.items():
            if child.status is None:
                if key not in self.alive and (worker := worker_at(child, self.repository)):
                    self.alive[key] = worker
            elif key in self.alive and key not in self._reported:
                since = self._fallen.setdefault(key, now)
                if now - since >= (DEAD_AFTER_S if child.status else QUIETLY_DEAD_AFTER_S):
                    self._reported.add(key)
                    dead.append((self.alive.pop(key), child.status))
        for gone in self.alive.keys() - present.keys():
            del self.alive[gone]
        self._fallen = {key: since for key, since in self._fallen.items() if key in present}
        self._reported &= present.keys()
        return dead

    def frozen(self, children: list[Child], now: float, hung_s: float) -> list[Worker]:
        """Workers that were stopped whenever one looked, for ``hung_s`` seconds."""
        # Long between two looks was this process itself, stopped together with the workers: Ctrl-Z and fg.
        step = min(now - self._counted_at, LONGEST_STEP_S)
        self._counted_at = now
        stopped = [key for child in children if child.stopped and (key := (child.pid, child.born)) in self.alive]
        self._stopped_s = {key: self._stopped_s[key] + step if key in self._stopped_s else 0.0 for key in stopped}
        return [self.alive[key] for key, stopped_s in self._stopped_s.items() if stopped_s >= hung_s]

    def replaced(self, worker: Worker) -> bool:
        """Whether a younger worker has taken the place: the model has been loaded anew meanwhile."""
        return any(
            (other.model, other.version, other.instance) == (worker.model, worker.version, worker.instance)
            and other.born >= worker.born
            for other in self.alive.values()
        )


@dataclass(frozen=True)
class Watched:
    """A running Triton. ``repository`` is the path that Triton itself was given.

    ``put_down`` ends it for a reason, told as what it did; it may hold the memory of ``lost_workers`` dead workers.
    A worker may be stopped for ``hung_s`` seconds.
    """

    pid: int
    repository: Path
    client: Client
    address: str
    lost_workers: int
    hung_s: float
    put_down: Callable[[str], None]


class Watchdog:
    """Watches the workers of one Triton in a thread until told to stop.

    ``restarts`` counts by model how often its workers were replaced. ``say`` gets one line per event.
    """

    def __init__(self, watched: Watched, restarts: dict[str, int], say: Callable[[str], None]) -> None:
        self._triton, self._client = watched, watched.client
        self._say, self.restarts = say, restarts
        self._family, self._roll = Family(watched.pid), Roll(watched.repository)
        self._frozen: set[Worker] = set()
        self._waiting: dict[str, tuple[Worker, str]] = {}
        self._crashes: dict[str, list[float]] = {}
        self._busy: set[str] = set()
        self._regions: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="slipway-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; a reload in progress is left to itself, and a Triton that hangs is not waited for."""
        self._stopping.set()
        self._thread.join(timeout=1)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            now = time.monotonic()
            children = self._family.members(now)
            for worker, status in self._roll.look(children, now):
                self._waiting[worker.model] = (worker, self._end_of(worker, status))
            for worker in self._roll.frozen(children, now, self._triton.hung_s):
                self._frozen.add(worker)
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
            for model, (worker, end) in list(self._waiting.items()):
                if model not in self._busy and self._is_missed(worker):
                    self._attend(worker, end)

    def _end_of(self, worker: Worker, status: int) -> str:
        if worker not in self._frozen:
            return in_words(status)
        self._frozen.remove(worker)
        return f"was stopped for {self._triton.hung_s:g} s and was killed"

    def _is_missed(self, worker: Worker) -> bool:
        """Whether Triton believes the dead worker to be at work. Forgets one that nobody misses."""
        if self._roll.replaced(worker):
            self._waiting.pop(worker.model, None)
            return False
        try:
            states = {(state.name, state.version): state.state for state in self._client.index()}
        except Exception:  # Triton is down, busy, or being ended; the next look will tell
            return False
        state = states.get((worker.model, worker.version), "")
        if state in ("", "UNAVAILABLE"):
            self._waiting.pop(worker.model, None)
        return state == "READY"

    def _attend(self, worker: Worker, end: str) -> None:
        """Have the model loaded anew, beside the watching; after a pause when it keeps crashing."""
        now = time.monotonic()
        recent = [at for at in self._crashes.get(worker.model, []) if now - at < CALM_S]
        self._crashes[worker.model] = [*recent, now]
        del self._waiting[worker.model]
        if self._is_burdened():
            return
        self._regions.add(worker.region)
        self._busy.add(worker.model)
        pause_s = pause_before(len(recent))
        if pause_s:
            self._say(
                f"model {worker.model!r}: its worker (pid {worker.pid}) {end}, "
                f"for the {len(recent) + 1}th time within a minute; loading it anew in {pause_s:g} s"
            )
        threading.Thread(target=self._revive, args=(worker, end, pause_s), daemon=True).start()

    def _is_burdened(self) -> bool:
        """Whether Triton has to go, because it holds too much memory of workers that died before.

        Of one that died at work Triton keeps the model, its threads and the mapped region for good.
        """
        self._regions = {name for name in self._regions if (SHARED_MEMORY / name).exists()}
        kept = len(self._regions)
        if not kept or (kept < self._triton.lost_workers and facts.shared_memory(1).ok):
            return False
        self._stopping.set()
        self._triton.put_down(f"held the shared memory of {kept} dead worker{'s' * (kept > 1)} and was ended")
        return True

    def _revive(self, worker: Worker, end: str, pause_s: float) -> None:
        ended = f"model {worker.model!r}: its worker (pid {worker.pid}) {end}"
        count = self.restarts.get(worker.model, 0) + 1
        try:
            if self._stopping.wait(pause_s):
                return
            begin = time.monotonic()
            revive(self._triton.address, worker.model, count, timeout_s=CALM_S)
        except Exception as e:  # in a thread: whatever it is, somebody must hear of it
            if not self._stopping.is_set():
                self._say(f"{ended} and it could not be loaded anew: {e}")
                self._waiting[worker.model] = (worker, end)
            return
        finally:
            self._busy.discard(worker.model)
        self.restarts[worker.model] = count
        self._say(f"{ended}; loaded anew in {time.monotonic() - begin:.1f} s (restart {count})")
