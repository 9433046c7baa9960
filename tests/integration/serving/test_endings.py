"""However a served repository is ended, it ends soon and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.triton import (
    alive,
    descendants,
    name_of,
    publish_doubler,
    publish_python,
    start_triton,
    traces,
    wait_until,
)

PAIR = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 2 }
output { name: "y" data_type: TYPE_FP32 dims: 2 }
"""
COMMAND = [sys.executable, "-m", "slipway_serving", "--server", "embedded"]
COMMAND += ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """``python -m slipway_serving`` on a repository of one model, ready."""
    publish_doubler(tmp_path)
    process = subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "Triton is ready: doubler\n"
        assert process.stdout.readline().startswith("gRPC 127.0.0.1:")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_is_no_failure(how: signal.Signals, served: subprocess.Popen[str]) -> None:
    family = descendants(served.pid)
    assert len(family) >= 3, "guardian, Triton, worker"
    served.send_signal(how)
    assert served.wait(5) == 0
    assert not any(alive(pid) for pid in family)


def test_one_ctrl_c_ends_also_what_was_stopped(served: subprocess.Popen[str]) -> None:
    family = descendants(served.pid)
    name = name_of(family[0])
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    served.send_signal(signal.SIGINT)
    assert served.wait(5) == 0
    assert not any(alive(pid) for pid in family)
    assert not traces(name)


def test_a_terminal_that_closes_stops_everything_in_order(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    terminal, inside = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *COMMAND, str(tmp_path)],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    try:
        said = b""
        while b"gRPC 127.0.0.1:" not in said:
            said += os.read(terminal, 4096)
        family = descendants(process.pid)
    finally:
        os.close(terminal)
        status = process.wait(20)
    assert status == 0, said
    assert len(family) >= 3
    assert not any(alive(pid) for pid in family)


def test_ctrl_c_while_a_model_loads_ends_at_once(tmp_path: Path) -> None:
    code = "import pathlib, time\n\nclass TritonPythonModel:\n    def initialize(self, args):\n"
    code += "        pathlib.Path(__file__).with_name('loading').touch()\n        time.sleep(60)\n"
    loading = publish_python(tmp_path, "sleeper", code, PAIR) / "loading"
    process = subprocess.Popen([*COMMAND, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until(loading.exists, 20, "the model never began to load")
        family = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) != 0
        wait_until(lambda: not any(alive(pid) for pid in family), 5, "processes are still there")
    finally:
        process.kill()
        process.communicate()


def test_kill_9_leaves_no_process_and_no_shared_memory(served: subprocess.Popen[str]) -> None:
    family = descendants(served.pid)
    name = name_of(family[0])
    assert traces(name)
    served.kill()
    wait_until(lambda: not any(alive(pid) for pid in family), 10, "processes are still there")
    wait_until(lambda: not traces(name), 5, "its traces are still there")


def test_after_everything_was_killed_the_next_start_cleans_up(
    served: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    family = descendants(served.pid)
    name = name_of(family[0])
    served.kill()
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in family), 5, "processes are still there")
    assert traces(name), "nothing was left to clean up"
    repository = tmp_path_factory.mktemp("next")
    publish_doubler(repository)
    with start_triton(repository):
        assert traces(name) == set()
