"""From an empty folder to answers in one command; nothing twice; and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stack import SLIPWAY, Stack, running_stack, start_stack, wait_for


def test_every_model_is_trained_exported_and_asked_once(stack: Stack) -> None:
    assert re.search(r"^iris \| iris: accuracy (0\.9\d+|1\.0000) on \d+ held-out rows$", stack.said, re.M)
    assert re.search(
        r"^digits \| digits: accuracy (0\.98[5-9]\d|0\.99\d\d|1\.0000) on \d+ held-out rows$", stack.said, re.M
    )
    assert "iris/1 answers: setosa" in stack.said
    assert re.search(r"^digits/1 answers: \d$", stack.said, re.M)
    assert "parity holds on" in stack.said


def test_the_three_curl_lines_work_when_pasted(stack: Stack) -> None:
    assert len(stack.curl_lines) == 3
    answers = []
    for line in stack.curl_lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=stack.folder, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    digits = next(a for a in answers if a.get("model") == "digits")
    iris = next(a for a in answers if a.get("model") == "iris")
    raw = next(a for a in answers if "outputs" in a)
    assert iris["predictions"][0]["label"] == "setosa"
    assert f"digits/1 answers: {digits['predictions'][0]['label']}" in stack.said
    assert {output["name"] for output in raw["outputs"]} == {"label", "probabilities"}


@pytest.fixture
def prepared(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """A folder in which everything has been trained and published already."""
    for name in ("artifacts", "model_repository"):
        shutil.copytree(stack.folder / name, tmp_path / name)
    yield tmp_path


def _published(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("model_repository/*/*"))


def test_a_second_up_does_nothing_twice_and_stops_at_ctrl_c_without_leftovers(prepared: Path) -> None:
    before = _published(prepared)
    stack = start_stack(prepared)
    assert " | " not in stack.said.split("answers:")[0], "no verb ran for any model"
    assert _published(prepared) == before
    children = _family(stack.process.pid)
    shared_memory = _shared_memory_of(children)
    assert len(children) >= 4, "Triton, its workers and the frontend"
    assert len(shared_memory) >= 3, "a region for each worker"
    assert stack.stop(signal.SIGINT) == 0
    assert not _alive(children)
    assert not _existing(shared_memory)


def test_nothing_stays_behind_after_kill_9(prepared: Path) -> None:
    stack = start_stack(prepared)
    children = _family(stack.process.pid)
    shared_memory = _shared_memory_of(children)
    stack.process.kill()
    stack.process.wait()
    wait_for(lambda: not _alive(children), 20, "processes of the killed stack are still there")
    wait_for(lambda: not _existing(shared_memory), 5, "shared memory of the killed stack is still there")


def test_a_frontend_that_dies_is_started_again(prepared: Path) -> None:
    with running_stack(prepared) as stack:
        frontend = next(pid for pid in _family(stack.process.pid) if "slipway_frontend" in _command_line(pid))
        os.kill(frontend, signal.SIGKILL)
        wait_for(lambda: "started again (1)" in stack.complained, 20, "nobody noticed that the frontend died")
        wait_for(lambda: _answers(stack), 20, "the frontend did not come back")


def _answers(stack: Stack) -> bool:
    try:
        return stack.http("/readyz")[0] == 200
    except OSError:
        return False


def test_a_port_in_use_is_refused_in_one_line_before_anything_is_trained(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*SLIPWAY, "up", "--frontend-port", str(port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"slipway: the frontend cannot bind 127.0.0.1:{port} (Address already in use); "
        "stop what uses the port, or choose another one with --frontend-port\n"
    )
    assert list(tmp_path.iterdir()) == []


def _shared_memory_of(pids: set[int]) -> set[Path]:
    """The files in /dev/shm that these processes have mapped."""
    maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in pids)
    return {Path(found) for found in re.findall(r"/dev/shm/\S+", maps) if Path(found).exists()}


def _existing(files: set[Path]) -> set[Path]:
    return {file for file in files if file.exists()}


def _family(pid: int) -> set[int]:
    """The processes below ``pid``, all generations."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found |= {child} | _family(child)
    return found


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if _state(pid) not in ("", "Z")}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
