"""What dies is noticed and replaced; what is killed leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from slipway_client import Client
from slipway_core.errors import CannotServe, SlipwayError
from slipway_serving import ServeOptions, start
from support.triton import (
    RunningTriton,
    alive,
    command_line,
    descendants,
    guardian_of,
    name_of,
    publish_doubler,
    publish_python,
    start_triton,
    traces,
    wait_until,
    workers,
)

ECHO = """
import os

import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        arrays = [request.inputs()[0].as_numpy() for request in requests]
        if any(array[0, 0] < 0 for array in arrays):
            os._exit(3)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", array)]) for array in arrays]
"""
PAIR = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 2 }
output { name: "y" data_type: TYPE_FP32 dims: 2 }
"""
ONE = {"x": np.ones((1, 2), np.float32)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    """A server that these tests may hurt."""
    repository = tmp_path_factory.mktemp("hurt")
    publish_doubler(repository)
    publish_doubler(repository, "bystander")
    publish_python(repository, "echo", ECHO, PAIR + "dynamic_batching { }")
    with start_triton(repository) as triton:
        yield triton


@pytest.fixture
def log(running: RunningTriton) -> Iterator[list[str]]:
    """What the server has said during the test; shown when the test fails."""
    begin = len(running.lines)
    said: list[str] = []
    yield said
    print("\n".join(running.lines[begin:]))


@dataclass
class Load:
    """Clients that keep asking: when the requests that were answered ended, and when those that failed began."""

    address: str
    model: str
    answered: list[float] = field(default_factory=list[float])
    failed: list[float] = field(default_factory=list[float])
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(8)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with Client(self.address, deadline_s=10) as client:
            while not self._stopping.is_set():
                begin = time.monotonic()
                try:
                    client.infer(self.model, ONE)
                    self.answered.append(time.monotonic())
                except SlipwayError:
                    self.failed.append(begin)


def _is_steady(load: Load) -> bool:
    """Whether many answers have come since the last failure."""
    return sum(answered > max(load.failed, default=0) for answered in load.answered) > 200


@pytest.mark.parametrize("model", ["doubler", "echo"])
def test_a_worker_killed_under_load_costs_seconds_and_no_other_model(
    model: str, running: RunningTriton, log: list[str]
) -> None:
    server = running.server
    before, triton_before = server.restarts.get(model, 0), server.triton_restarts
    with Load(running.grpc, model) as load, Load(running.grpc, "bystander") as bystander:
        wait_until(lambda: len(load.answered) > 50, 20, "no answers before the kill")
        (worker,) = workers(server, model)
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(
            lambda: server.restarts.get(model, 0) > before or server.triton_restarts > triton_before,
            20,
            "nobody noticed the dead worker",
        )
        wait_until(lambda: _is_steady(load) and _is_steady(bystander), 30, "the models do not answer steadily again")
    assert max([*load.failed, *bystander.failed], default=killed) - killed < 10, "the gap was longer than seconds"
    if server.triton_restarts > triton_before:
        # Seldom a worker dies while it holds a lock in the memory that it shares with Triton, and Triton aborts.
        assert "Triton was killed by signal 6 (SIGABRT); starting it again" in running.lines
        return
    assert bystander.failed == []
    assert any(
        re.fullmatch(
            rf"model '{model}': its worker \(pid {worker}\) was killed by signal 9 \(SIGKILL\); "
            rf"loaded anew in \d+\.\d s \(restart {before + 1}\)",
            line,
        )
        for line in running.lines
    ), running.lines


def test_a_worker_that_ends_by_itself_is_replaced_too_and_a_repeated_crash_waits(running: RunningTriton) -> None:
    before = running.server.restarts.get("echo", 0)
    with Client(running.grpc, deadline_s=10) as client:
        with pytest.raises(SlipwayError):
            client.infer("echo", {"x": np.full((1, 2), -1, np.float32)})
        wait_until(lambda: running.server.restarts.get("echo", 0) == before + 1, 20, "the crash was not noticed")
        assert client.infer("echo", ONE).tensors["y"].tolist() == [[1, 1]]
    said = [line for line in running.lines if "ended with exit code 3" in line]
    assert "time within a minute; loading it anew in" in said[0]
    assert said[-1].endswith(f"(restart {before + 1})")


def test_a_reload_and_an_unload_are_no_deaths(running: RunningTriton) -> None:
    restarts, lines = dict(running.server.restarts), len(running.lines)
    config = running.repository / "bystander" / "config.pbtxt"
    with Client(running.grpc) as client:
        old = workers(running.server, "bystander")
        config.write_text(config.read_text().replace("dynamic_batching { }", ""))
        client.load("bystander")
        wait_until(lambda: not any(alive(pid) for pid in old), 10, "the old worker is still there")
        client.unload("bystander")
        wait_until(lambda: not workers(running.server, "bystander"), 10, "the worker is still there")
        client.load("bystander")
        assert client.infer("bystander", ONE).tensors["y"].tolist() == [[2, 2]]
    assert running.server.restarts == restarts
    assert not [line for line in running.lines[lines:] if "its worker" in line]


def test_a_model_changed_on_disk_after_a_revival_is_loaded_as_it_is_on_disk(running: RunningTriton) -> None:
    """A revival loads the model with its old config; the next load must not."""
    before = running.server.restarts.get("doubler", 0)
    (worker,) = workers(running.server, "doubler")
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: running.server.restarts.get("doubler", 0) == before + 1, 20, "nobody noticed the dead worker")
    config = running.repository / "doubler" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 16"))
    with Client(running.grpc) as client:
        client.load("doubler")
        assert client.model("doubler").max_batch_size == 16


def test_a_killed_triton_is_started_again_at_the_same_addresses(running: RunningTriton) -> None:
    address, old, family = running.grpc, running.server.pid, descendants(running.server.pid)
    restarts = running.server.triton_restarts
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: running.server.triton_restarts == restarts + 1, 20, "Triton was not started again")
    assert running.grpc == address
    assert running.server.pid != old
    assert running.server.models() == ["bystander", "doubler", "echo"]
    with Client(address) as client:
        assert client.infer("doubler", ONE).tensors["y"].tolist() == [[2, 2]]
    wait_until(lambda: not any(alive(pid) for pid in family), 5, "workers of the killed Triton are still there")
    assert "Triton was killed by signal 9 (SIGKILL); starting it again" in running.lines
    running.server.check()


def test_a_killed_guardian_takes_triton_along_and_both_come_back(running: RunningTriton) -> None:
    restarts = running.server.triton_restarts
    guardian = guardian_of(running.server.pid)
    name, family = name_of(guardian), descendants(guardian)
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: running.server.triton_restarts == restarts + 1, 20, "Triton was not started again")
    wait_until(lambda: not any(alive(pid) for pid in family), 5, "processes of the killed guardian are still there")
    assert traces(name) == set()


def test_a_triton_that_hangs_is_killed_and_started_again_though_nobody_can_log_it(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        raise OSError(28, "No space left on device")

    options = ServeOptions(
        repository=tmp_path,
        server="embedded",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        hung_s=3,
        log=log,
        verbose=True,
    )
    with start(options) as server:
        hung = server.pid
        os.kill(hung, signal.SIGSTOP)
        wait_until(lambda: server.triton_restarts == 1, 30, "nobody noticed that Triton hangs")
        assert not alive(hung)
        with Client(server.grpc_address) as client:
            assert client.infer("doubler", ONE).tensors["y"].tolist() == [[2, 2]]
    assert "Triton did not answer for 3 s and was killed; starting it again" in lines


def test_a_worker_that_was_stopped_is_killed_and_replaced_in_one_line(tmp_path: Path) -> None:
    publish_python(tmp_path, "echo", ECHO, PAIR)
    with start_triton(tmp_path, hung_s=3) as triton, Client(triton.grpc, deadline_s=10) as client:
        (worker,) = workers(triton.server, "echo")
        os.kill(worker, signal.SIGSTOP)
        wait_until(
            lambda: triton.server.restarts.get("echo", 0) + triton.server.triton_restarts > 0,
            20,
            "nobody noticed the stopped worker",
        )
        assert not alive(worker)
        assert client.infer("echo", ONE).tensors["y"].tolist() == [[1, 1]]
    about = [line for line in triton.lines if "its worker" in line]
    assert len(about) == 1, triton.lines
    assert about[0].startswith(
        f"model 'echo': its worker (pid {worker}) was stopped for 3 s and was killed; loaded anew"
    )


def test_a_triton_that_holds_the_memory_of_dead_workers_is_started_again(tmp_path: Path) -> None:
    """It keeps the region of each worker that dies at work."""
    publish_python(tmp_path, "echo", ECHO, PAIR)
    deadly = {"x": np.full((1, 2), -1, np.float32)}
    with start_triton(tmp_path, lost_workers=1) as triton, Client(triton.grpc, deadline_s=10) as client:
        guardian = guardian_of(triton.server.pid)
        for deaths in (1, 2):
            held = traces(name_of(guardian))
            with pytest.raises(SlipwayError):
                client.infer("echo", deadly)
            wait_until(
                lambda deaths=deaths: triton.server.restarts.get("echo", 0) + triton.server.triton_restarts == deaths,
                30,
                "nobody noticed the dead worker",
            )
        assert triton.server.triton_restarts == 1
        assert client.infer("echo", ONE).tensors["y"].tolist() == [[1, 1]]
        assert not [path for path in held if Path(path).exists()]
    assert "Triton held the shared memory of 1 dead worker and was ended; starting it again" in triton.lines


def test_a_triton_that_cannot_be_started_again_is_given_up_with_the_reason(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    with start_triton(tmp_path, deaths_per_minute=3) as triton:
        (tmp_path / "doubler" / "config.pbtxt").write_text("max_batch_sise: 8\n")
        os.kill(triton.server.pid, signal.SIGKILL)
        with pytest.raises(CannotServe) as given_up:
            triton.server.wait()
        with pytest.raises(CannotServe):
            triton.server.check()
    reason = f"{tmp_path}/doubler/config.pbtxt: line 1, column 1: "
    assert f"killed by signal 9 (SIGKILL), the last of 3 deaths within a minute: {reason}" in str(given_up.value)
    assert any(line.startswith(f"Triton could not be started again ({reason}") for line in triton.lines)


def test_a_stop_while_triton_is_started_again_leaves_nothing(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    with start_triton(tmp_path) as triton:
        dead = triton.server.pid
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: triton.server.pid != dead, 20, "Triton was not started again")
        family = descendants(os.getpid())
        name = name_of(guardian_of(triton.server.pid))
        triton.server.stop()
    assert traces(name) == set()
    assert not [pid for pid in family if name in command_line(pid)]
