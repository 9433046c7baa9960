"""Guardian, workers' roll and ports, tried on real processes and sockets of the test's own."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway_serving import _guardian, check_machine
from slipway_serving.patience import pause_before
from slipway_serving.ports import address, free_port, holder_of, problem_with
from slipway_serving.watchdog import Roll
from slipway_serving.workers import RESCAN_S, Child, Family, children_of, in_words
from support.triton import alive, descendants, wait_until

Guarded = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    """Starts a shell script under a guardian of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, grace_s: float = 5) -> subprocess.Popen[bytes]:
        folder = tmp_path / "runtime"
        folder.mkdir()
        command = [sys.executable, "-I", "-S", _guardian.__file__, "--prefix", f"slipwaytest{os.getpid()}-"]
        command += ["--folder", str(folder), "--grace-s", str(grace_s), "--cleanup", "", "--", "bash", "-c", script]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"started ")
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _traces() -> list[Path]:
    return list(Path("/dev/shm").glob(f"slipwaytest{os.getpid()}-*"))


def test_a_guardian_ends_a_whole_family_and_removes_its_traces_when_told_to_stop(
    guarded: Guarded, tmp_path: Path
) -> None:
    trace = f"/dev/shm/slipwaytest{os.getpid()}-1"
    process = guarded(f"touch {trace}; sleep 60 & (setsid sleep 60 &) ; echo ready; wait")
    assert process.stdin is not None
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    family = descendants(process.pid)
    assert len(family) >= 3
    process.stdin.write(b"stop\n")
    process.stdin.flush()
    said, _ = process.communicate(timeout=10)
    assert said == b"ended -15\n"
    assert not any(alive(pid) for pid in family)
    assert _traces() == []
    assert not (tmp_path / "runtime").exists()


def test_what_was_stopped_hears_that_it_is_to_end(guarded: Guarded, tmp_path: Path) -> None:
    process = guarded("sh -c 'kill -STOP $$' & worker=$!; trap 'wait $worker; exit 7' TERM; echo ready; kill -STOP $$")
    assert process.stdin is not None
    wait_until(lambda: [_letter(pid) for pid in descendants(process.pid)] == ["T", "T"], 5, "nothing stopped")
    process.stdin.write(b"stop\n")
    process.stdin.flush()
    assert process.communicate(timeout=10)[0] == b"ended 7\n"


def _letter(pid: int) -> str:
    """A process's state as the kernel writes it; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_guardian_kills_what_does_not_heed_when_its_parent_is_gone(guarded: Guarded) -> None:
    process = guarded("trap '' TERM; echo ready; while :; do sleep 0.1; done", grace_s=0.3)
    assert process.stderr is not None
    assert process.stderr.readline() == b"ready\n"
    said, _ = process.communicate(timeout=10)  # closes its stdin, as the kernel does for a killed parent
    assert said == b"ended -9\n"


def test_a_guardian_tells_how_a_command_ended_by_itself(guarded: Guarded) -> None:
    process = guarded("exit 7")
    assert process.wait(10) == 0
    assert process.stdout is not None
    assert process.stdout.read() == b"ended 7\n"


def test_a_command_that_cannot_be_started_is_told_in_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", _guardian.__file__, "--prefix", "slipwaytest-none-", "--folder"]
    command += [str(tmp_path / "none"), "--grace-s", "1", "--", "/no/such/tritonserver"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read().splitlines()[-1] == b"ended 127"
        said = b"/no/such/tritonserver cannot be started: No such file or directory\n"
        assert process.stderr.read() == said


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A child of this process that looks like a worker of ``iris``."""
    repository, stub = tmp_path / "repository", tmp_path / "triton_python_backend_stub"
    stub.symlink_to("/bin/sh")
    script = repository / "iris" / "2" / "model.onnx"  # stands where Triton names the model's file
    script.parent.mkdir(parents=True)
    script.write_text("read line\n")
    process = subprocess.Popen([str(stub), str(script), *"234567", "iris_0_0"], stdin=subprocess.PIPE)
    yield process, repository
    process.kill()
    process.wait()


def test_the_roll_tells_a_killed_worker_once_and_not_at_once(worker: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, repository = worker
    roll = Roll(repository)
    wait_until(lambda: roll.look(children_of(os.getpid()), 0) == [] and bool(roll.alive), 5, "the worker is not seen")
    process.kill()
    wait_until(lambda: _child(process.pid).status is not None, 5, "the worker does not die")
    assert roll.look(children_of(os.getpid()), 10.0) == [], "Triton may be about to collect it"
    ((dead, status),) = roll.look(children_of(os.getpid()), 10.5)
    assert (dead.pid, dead.model, dead.version, dead.instance, status) == (process.pid, "iris", "2", "iris_0_0", -9)
    assert roll.look(children_of(os.getpid()), 20.0) == []
    assert not roll.replaced(dead)


def test_the_roll_forgets_a_worker_that_was_collected(worker: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, repository = worker
    roll = Roll(repository)
    wait_until(lambda: roll.look(children_of(os.getpid()), 0) == [] and bool(roll.alive), 5, "the worker is not seen")
    process.kill()
    process.wait()
    assert roll.look(children_of(os.getpid()), 10.0) == []
    assert roll.look(children_of(os.getpid()), 20.0) == []
    assert roll.alive == {}


def test_the_roll_tells_a_worker_that_stays_stopped_and_not_one_under_a_debugger(
    worker: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, repository = worker
    roll = Roll(repository)
    wait_until(lambda: roll.look(children_of(os.getpid()), 0) == [] and bool(roll.alive), 5, "the worker is not seen")

    def frozen_after(seconds: range) -> list[int]:
        return [now for now in seconds if roll.frozen(children_of(os.getpid()), float(now), hung_s=2)]

    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: _letter(process.pid) == "T", 5, "the worker does not stop")
    assert frozen_after(range(10, 14)) == [12, 13]
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: _letter(process.pid) != "T", 5, "the worker does not go on")
    assert frozen_after(range(14, 20)) == []
    with _debugged(process.pid):
        assert frozen_after(range(20, 30)) == []
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: _letter(process.pid) == "T", 5, "the worker does not stop")
    assert roll.frozen(children_of(os.getpid()), 30.0, hung_s=2) == []
    assert roll.frozen(children_of(os.getpid()), 900.0, hung_s=2) == [], "nobody looked meanwhile"


@contextmanager
def _debugged(pid: int) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach = 16, 17
    assert libc.ptrace(attach, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    try:
        wait_until(lambda: _letter(pid) == "t", 5, "the debugger does not stop it")
        yield
    finally:
        libc.ptrace(detach, pid, None, None)


def test_a_family_tells_a_child_that_has_just_been_born_stopped_or_died() -> None:
    family = Family(os.getpid())
    assert os.getpid() not in [child.pid for child in family.members(0)]
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            seen = {child.pid: child for child in family.members(RESCAN_S)}
            assert seen[process.pid].status is None
            assert not seen[process.pid].stopped
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: _letter(process.pid) == "T", 5, "it does not stop")
            assert {child.pid: child for child in family.members(RESCAN_S)}[process.pid].stopped
        finally:
            process.kill()
        wait_until(lambda: _letter(process.pid) == "Z", 5, "it does not die")
        assert {child.pid: child for child in family.members(RESCAN_S)}[process.pid].status == -9
    assert process.pid not in [child.pid for child in family.members(RESCAN_S)]


def _child(pid: int) -> Child:
    return next(child for child in children_of(os.getpid()) if child.pid == pid)


def test_a_model_that_keeps_crashing_is_given_longer_and_longer_pauses() -> None:
    assert [pause_before(crashes) for crashes in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_an_end_is_told_in_words() -> None:
    assert in_words(0) == "ended with exit code 0"
    assert in_words(-signal.SIGSEGV) == "was killed by signal 11 (SIGSEGV)"
    assert in_words(-99) == "was killed by signal 99"


def test_a_port_in_use_names_its_holder_and_a_free_one_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert holder_of(port).endswith(f"(pid {os.getpid()})")
        assert problem_with("127.0.0.1", port) == f"is in use by {holder_of(port)}"
    assert problem_with("127.0.0.1", free_port("127.0.0.1")) == ""
    assert problem_with("192.0.2.1", 80) == "cannot be bound: 192.0.2.1 is no address of this machine"


def test_an_address_is_one_that_clients_on_this_machine_reach() -> None:
    assert address("0.0.0.0", 8001) == "127.0.0.1:8001"
    assert address("::", 8001) == "[::1]:8001"
    assert address("10.0.0.7", 8001) == "10.0.0.7:8001"


def test_the_machine_is_checked_in_one_table_with_a_remedy_per_problem() -> None:
    checks = {check.name: check for check in check_machine()}
    assert {"Triton", "Python", "glibc", "shared libpython", "numpy", "/dev/shm", "GPU", "Docker", "disk"} <= set(
        checks
    )
    assert {f"port {port}" for port in (8000, 8001, 8002, 8080)} <= {name.split(" (")[0] for name in checks}
    assert all(check.found for check in checks.values())
    assert all(check.remedy for check in checks.values() if check.ok is False)
    assert checks["Triton"].found.startswith("embedded (nvidia-pytriton ")
