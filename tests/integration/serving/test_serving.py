"""Starting a real Triton on repositories good and bad, and stopping it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.model_config_pb2 import ModelConfig

from slipway_client import AsyncClient, Client, rpcs
from slipway_core.errors import CannotServe, RepositoryBroken
from slipway_serving import ServeOptions, start
from slipway_serving.facts import find_embedded
from slipway_serving.runtime_folder import make_runtime_folder
from support.triton import (
    FLOAT,
    STRING,
    ask,
    command_line,
    descendants,
    guardian_of,
    name_of,
    publish,
    publish_doubler,
    publish_python,
    start_triton,
    traces,
    wait_until,
    workers,
)

CALLER = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            answer = pb_utils.InferenceRequest(
                model_name="doubler", requested_output_names=["y"], inputs=request.inputs()
            ).exec()
            if answer.has_error():
                raise RuntimeError(answer.error().message())
            responses.append(pb_utils.InferenceResponse(answer.output_tensors()))
        return responses
"""
PAIR = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 2 }
output { name: "y" data_type: TYPE_FP32 dims: 2 }
"""
ONE = {"x": np.ones((1, 2), np.float32)}
WARM_UP = """
model_warmup { name: "one" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: 2 zero_data: true } } }
"""
SLOW = """
import pathlib
import time

import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        pathlib.Path(__file__).with_name("running").touch()
        time.sleep(1)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", r.inputs()[0].as_numpy())]) for r in requests]
"""


def test_a_model_that_calls_another_is_loaded_after_it_from_a_path_with_spaces_and_requests_are_drained(
    tmp_path: Path,
) -> None:
    repository = tmp_path / "my models; $(all)"
    publish_doubler(repository)
    publish_python(repository, "a_caller", CALLER, PAIR + WARM_UP)  # its warm-up fails unless doubler is up
    publish_python(repository, "slow", SLOW, PAIR)
    (repository / "not_yet").mkdir()
    (repository / "not_yet" / "config.pbtxt").write_text('name: "not_yet"\n')
    with start_triton(repository) as triton:
        name = name_of(guardian_of(triton.server.pid))
        assert traces(name)
        assert triton.server.models() == ["a_caller", "doubler", "slow"]
        assert any(line.startswith("not_yet: has no version yet") for line in triton.lines)
        assert [line for line in triton.lines if line.startswith("triton | ")] == [], "a good start is quiet"
        assert ask(triton, "a_caller", {"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2, 2]]
        answers: list[object] = []
        with Client(triton.grpc) as client:
            given = np.full((1, 2), 7, np.float32)
            asking = threading.Thread(target=lambda: answers.append(client.infer("slow", {"x": given}).tensors["y"]))
            asking.start()
            wait_until((repository / "slow" / "1" / "running").exists, 10, "the slow request never ran")
            triton.server.stop()
            asking.join()
        assert [np.asarray(answer).tolist() for answer in answers] == [[[7, 7]]]
    assert traces(name) == set()


def test_a_missing_config_is_completed_from_the_graph_as_triton_would(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    publish(tmp_path, "batching", nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, None)
    publish(tmp_path, "scalar_items", nodes, {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])}, None)
    publish(tmp_path, "fixed", nodes, {"x": (FLOAT, [3, 2])}, {"y": (FLOAT, [3, 2])}, None)
    same = [helper.make_node("Identity", ["x"], ["y"])]
    publish(tmp_path, "half", same, {"x": (STRING, ["n", "m"])}, {"y": (STRING, ["n", "m"])}, None)
    head = 'name: "half"\nbackend: "onnxruntime"\nmax_batch_size: 16\n'
    (tmp_path / "half" / "config.pbtxt").write_text(head + 'input { name: "x" data_type: TYPE_STRING dims: -1 }\n')
    with start_triton(tmp_path) as triton:
        batching, items, fixed, half = (
            _config(triton.grpc, name) for name in ("batching", "scalar_items", "fixed", "half")
        )
        answer = ask(triton, "scalar_items", {"x": np.array([[1], [2]], np.float32)})["y"]
    assert (batching.max_batch_size, batching.HasField("dynamic_batching")) == (4, True)
    assert [list(io.dims) for io in (*batching.input, *batching.output)] == [[2], [2]]
    assert [list(io.dims) for io in (*items.input, *items.output)] == [[1], [1]]
    assert answer.tolist() == [[-1], [-2]]
    assert (fixed.max_batch_size, fixed.HasField("dynamic_batching")) == (0, False)
    assert list(fixed.input[0].dims) == [3, 2]
    assert (half.max_batch_size, list(half.output[0].dims), half.output[0].name) == (16, [-1], "y")


def _config(address: str, model: str) -> ModelConfig:
    async def get() -> ModelConfig:
        async with AsyncClient(address) as client:
            return (await client.call(rpcs.MODEL_CONFIG, pb.ModelConfigRequest(name=model))).config

    return asyncio.run(get())


def test_one_broken_model_refuses_the_start_in_one_line_or_is_left_out(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    publish_doubler(tmp_path, "broken")
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}: model 'broken': version 1: InvalidProtobuf: ")
    assert "\n" not in message
    assert "doubler" not in message
    with start_triton(tmp_path, keep_going=True) as triton:
        assert triton.server.models() == ["doubler"]
        assert next(line for line in triton.lines if "broken" in line).startswith(
            "not served: model 'broken': version 1"
        )


def test_an_error_that_only_tritons_log_tells_is_told_with_it(tmp_path: Path) -> None:
    """Our own reading of config.pbtxt passes; Triton's own rules do not."""
    publish_doubler(tmp_path)
    config = tmp_path / "doubler" / "config.pbtxt"
    config.write_text(
        config.read_text().replace("dynamic_batching { }", "dynamic_batching { preferred_batch_size: 99 }")
    )
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    assert re.search(r"model 'doubler': .*preferred.*<= max batch size", str(refused.value)), str(refused.value)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("max_batch_sise: 8", r"doubler/config\.pbtxt: line 3, column 1: .*max_batch_sise"),
        ("max_batch_size: [8", r"doubler/config\.pbtxt: line 3, column \d+: "),
        ('name: "other"', r"doubler/config\.pbtxt: "),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_with_line_and_column_before_triton_starts(
    broken: str, message: str, tmp_path: Path
) -> None:
    publish_doubler(tmp_path)
    config = tmp_path / "doubler" / "config.pbtxt"
    lines = config.read_text().splitlines()
    config.write_text("\n".join([*lines[:2], broken, *lines[2:]]))
    begin = time.monotonic()
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    assert re.search(message, str(refused.value)), str(refused.value)
    assert time.monotonic() - begin < 5


def test_a_port_in_use_is_refused_by_its_number_and_its_holder(tmp_path: Path) -> None:
    publish_doubler(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CannotServe) as refused:
            start(ServeOptions(repository=tmp_path, http_port=0, grpc_port=port, metrics_port=0))
    assert re.fullmatch(
        rf"port {port} \(gRPC\) is in use by \S+ \(pid \d+\); choose another one with --grpc-port; 0 takes a free one",
        str(refused.value),
    )


def test_a_repository_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path / "absent"):
        pass
    assert str(refused.value) == (
        f"{tmp_path}/absent: does not exist; publish a model into it first, or give the path of a model repository"
    )
    (tmp_path / "iris").mkdir()
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    assert str(refused.value) == (
        f"{tmp_path}: holds no published model (iris: no version yet); publish one first: slipway export <model>"
    )


def test_a_model_that_takes_too_long_is_given_up_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    publish_python(tmp_path, "sleeper", "import time\n\nclass TritonPythonModel:\n    pass\n\ntime.sleep(60)\n", PAIR)
    lines: list[str] = []
    options = ServeOptions(
        repository=tmp_path, http_port=0, grpc_port=0, metrics_port=0, ready_timeout_s=3, log=lines.append
    )
    with pytest.raises(CannotServe) as refused:
        start(options)
    assert str(refused.value) == (
        "model 'sleeper' was still loading after 3 s; "
        "give Triton more time (--ready-timeout), or look at its log (--verbose)"
    )
    assert not [pid for pid in descendants(os.getpid()) if str(tmp_path) in command_line(pid)]


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of the test's own before all others on PATH."""
    folder = tmp_path / "installed" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_a_tritonserver_on_path_is_run_with_its_own_backends(
    path_with: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Another installation, made from the wheel's files: a program in bin, backends beside it."""
    embedded = find_embedded()
    laid_out = make_runtime_folder(embedded)
    shutil.copytree(laid_out.backends, tmp_path / "installed" / "backends")
    laid_out.remove()
    libraries = ":".join(map(str, embedded.libraries))
    path_with(
        "tritonserver",
        f"export LD_LIBRARY_PATH={libraries} PATH={embedded.interpreter}:$PATH\n"
        f'exec {embedded.root}/bin/tritonserver "$@"',
    )
    repository = tmp_path / "repository"
    publish_doubler(repository)
    with start_triton(repository, server="path") as triton:
        assert ask(triton, "doubler", ONE)["y"].tolist() == [[2, 2]]
        (worker,) = workers(triton.server, "doubler")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: triton.server.restarts == {"doubler": 1}, 20, "nobody noticed the dead worker")
        assert ask(triton, "doubler", ONE)["y"].tolist() == [[2, 2]]


def test_docker_without_its_daemon_is_one_clear_line(path_with: Callable[[str, str], None], tmp_path: Path) -> None:
    publish_doubler(tmp_path / "repository")
    path_with("docker", 'echo "Cannot connect to the Docker daemon. Is it running?" >&2; exit 1')
    with pytest.raises(CannotServe) as refused, start_triton(tmp_path / "repository", server="docker"):
        pass
    assert str(refused.value) == (
        "docker is installed, but its daemon does not answer (Cannot connect to the Docker daemon. Is it running?); "
        "start it (systemctl start docker), or serve with --server embedded"
    )


def test_a_container_that_cannot_run_is_told_with_what_docker_said(
    path_with: Callable[[str, str], None], tmp_path: Path
) -> None:
    publish_doubler(tmp_path / "repository")
    path_with("docker", '[ "$1" = version ] && exit 0; echo "docker: no such image $*" >&2; exit 125')
    with pytest.raises(CannotServe) as refused, start_triton(tmp_path / "repository", server="docker"):
        pass
    assert str(refused.value).startswith("Triton ended with exit code 125 while it started: docker: no such image run")
