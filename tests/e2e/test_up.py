"""From an empty folder to answers in one command; nothing twice; and nothing left behind."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway_core.layout import ModelDirectory
from support.frontend import CARDS
from support.stack import FREE_PORTS, LAST_LINE, SLIPWAY, Stack, begin_stack, running_stack, start_stack, wait_for


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


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        (
            "--frontend-port",
            r"the frontend's port {port} is in use by \S+ \(pid {pid}\); "
            r"stop what uses it, or choose another --frontend-port \(0: a free one\) or --host",
        ),
        (
            "--grpc-port",
            r"port {port} \(gRPC\) is in use by \S+ \(pid {pid}\); "
            r"choose another one with --grpc-port; 0 takes a free one",
        ),
    ],
)
def test_a_port_in_use_is_refused_in_one_line_before_anything_is_trained(
    tmp_path: Path, option: str, refusal: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*SLIPWAY, "up", "--frontend-port", "0", "--http-port", "0", "--metrics-port", "0", option, str(port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    expected = f"slipway: {refusal.format(port=port, pid=os.getpid())}\n"
    assert re.fullmatch(expected, done.stderr), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_invalid_card_among_several_is_refused_in_one_line_before_any_work(tmp_path: Path) -> None:
    _only_iris(tmp_path)
    (tmp_path / "cards" / "tulip.toml").write_text('name = "tulip"\ntask = "guessing"\n')
    done = subprocess.run(
        [*SLIPWAY, "up", *FREE_PORTS], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"slipway: cards/tulip.toml: .*\n", done.stderr), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cards"]


def test_a_card_with_a_wrong_example_is_told_and_its_model_is_served(prepared: Path) -> None:
    _only_iris(prepared)
    card = prepared / "cards" / "iris.toml"
    card.write_text(re.sub(r"example = [\d.]+", 'example = "tall"', card.read_text(), count=1))
    with running_stack(prepared) as stack:
        assert (
            len(re.findall(r"^model 'iris' failed: the frontend answered 400: .*tall.*$", stack.complained, re.M)) == 1
        )
        assert "Try these:" not in stack.said
        assert stack.http("/v1/models/iris")[0] == 200


def test_several_at_once_in_one_folder_train_and_publish_once(tmp_path: Path) -> None:
    _only_iris(tmp_path)
    first = begin_stack(tmp_path)
    wait_for(lambda: TRAINING.said in first.said, 120, "training never began")
    training = [pid for pid in _family(first.process.pid) if " train " in _command_line(pid)]
    for pid in training:
        os.kill(pid, signal.SIGSTOP)  # until the other one has come that far
    second = begin_stack(tmp_path)
    try:
        wait_for(lambda: "waiting for another `slipway up`" in second.complained, 60, "the other one does not wait")
    finally:
        for pid in training:
            os.kill(pid, signal.SIGCONT)
    for stack in (first, second):
        wait_for(lambda stack=stack: STARTING.said in stack.complained, 120, "it never came to start Triton")
        stack.stop(signal.SIGTERM)
    assert " | " not in second.said, "no verb ran for any model"
    assert ModelDirectory(tmp_path / "model_repository", "iris").versions() == [1]


@dataclass(frozen=True)
class Phase:
    """What `slipway up` is doing when it is interrupted: what must be there before, and what it says by then."""

    there: tuple[str, ...]
    said: str

    def prepare(self, stack: Stack, folder: Path) -> None:
        for name in self.there:
            shutil.copytree(stack.folder / name, folder / name)
        if not self.there:  # one model is enough to be interrupted while it trains
            _only_iris(folder)


def _only_iris(folder: Path) -> None:
    (folder / "cards").mkdir()
    shutil.copy(CARDS / "iris.toml", folder / "cards")


TRAINING = Phase((), "iris | comparing classifiers ...")
EXPORTING = Phase(("artifacts",), "digits |   publish: digits_net/config.pbtxt is in place")
STARTING = Phase(("artifacts", "model_repository"), "starting Triton")


@pytest.mark.parametrize(
    ("phase", "how"),
    [
        pytest.param(TRAINING, signal.SIGINT, id="Ctrl-C while training"),
        pytest.param(TRAINING, signal.SIGTERM, id="SIGTERM while training"),
        pytest.param(EXPORTING, signal.SIGINT, id="Ctrl-C while exporting"),
        pytest.param(EXPORTING, signal.SIGHUP, id="SIGHUP while exporting"),
        pytest.param(STARTING, signal.SIGINT, id="Ctrl-C while Triton starts"),
        pytest.param(STARTING, signal.SIGTERM, id="SIGTERM while Triton starts"),
    ],
)
def test_an_interrupted_start_leaves_nothing_running_and_nothing_half_made(
    stack: Stack, tmp_path: Path, phase: Phase, how: signal.Signals
) -> None:
    phase.prepare(stack, tmp_path)
    before = _made(tmp_path)
    starting = begin_stack(tmp_path)
    wait_for(lambda: phase.said in starting.said + starting.complained, 120, f"never said {phase.said!r}")
    children = _family(starting.process.pid)
    assert starting.stop(how) == 128 + how
    wait_for(lambda: not _alive(children), 10, "processes of the interrupted start are still there")
    assert "Traceback" not in starting.said + starting.complained
    assert _made(tmp_path) >= before
    for half in ("*/.*.partial", "*/.*.complete", "model_repository/*/.*"):
        assert not list(tmp_path.glob(half))
    outer, net = (ModelDirectory(tmp_path / "model_repository", name).versions() for name in ("digits", "digits_net"))
    assert outer == net, "one half of a version"


def _made(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.name.startswith(".")}


def test_a_model_whose_training_was_killed_is_told_and_fails_the_start(tmp_path: Path) -> None:
    _only_iris(tmp_path)
    starting = begin_stack(tmp_path)
    wait_for(lambda: TRAINING.said in starting.said, 120, "training never began")
    training = {pid for pid in _family(starting.process.pid) if " train " in _command_line(pid)}
    for pid in training:
        os.kill(pid, signal.SIGKILL)
    assert starting.process.wait(60) == 1
    assert "iris | `slipway train` was killed (SIGKILL)\n" in starting.said


def test_a_stack_that_is_open_to_the_network_says_so_and_ends_in_order_with_its_terminal(prepared: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", *SLIPWAY, "up", *FREE_PORTS, "--host", "0.0.0.0"],
        cwd=prepared,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = ""
        while LAST_LINE not in said:
            said += os.read(ours, 4096).decode()
        children = _family(process.pid)
        shared_memory = _shared_memory_of(children)
    finally:
        os.close(ours)  # as a terminal window that is closed
    assert process.wait(30) == 0
    assert not _alive(children)
    assert not _existing(shared_memory)
    assert "warning: there is no authentication yet; whoever reaches 0.0.0.0 can use the frontend" in said
    assert "page      http://127.0.0.1:" in said


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
