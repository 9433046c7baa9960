"""Starting a real Triton on repositories good and bad, and stopping it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.model_config_pb2 import ModelConfig

from slipway_client import AsyncClient, Client, rpcs
from slipway_core.errors import CannotServe, RepositoryBroken
from slipway_serving import ServeOptions, start
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
OF_AN_IMAGE = 'parameters { key: "slipway.image" value { string_value: "{}" } }'
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
    publish_doubler(tmp_path, "broken_net")
    (tmp_path / "broken_net" / "1" / "model.onnx").write_bytes(b"no graph")
    publish_python(tmp_path, "broken", CALLER, PAIR + OF_AN_IMAGE)
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    message = str(refused.value)
    assert message.startswith(f"{tmp_path}: model 'broken_net': version 1: InvalidProtobuf: ")
    assert message.endswith("; model 'broken': it asks 'broken_net', which is not served")
    assert "\n" not in message
    assert "doubler" not in message
    publish_python(tmp_path, "netless", CALLER, PAIR + OF_AN_IMAGE)
    with start_triton(tmp_path, keep_going=True) as triton:
        assert triton.server.models() == ["doubler"]
        (line,) = (line for line in triton.lines if line.startswith("not served: "))
    assert line.startswith("not served: model 'netless': it asks netless_net/1, which is missing; ")
    assert "; model 'broken_net': version 1: " in line
    assert line.endswith("; model 'broken': it asks 'broken_net', which is not served")


def test_an_image_model_whose_net_is_missing_refuses_the_start(tmp_path: Path) -> None:
    """Triton would call it ready."""
    publish_python(tmp_path, "digits", CALLER, PAIR + OF_AN_IMAGE)
    with pytest.raises(RepositoryBroken) as refused, start_triton(tmp_path):
        pass
    assert str(refused.value) == (
        f"{tmp_path}: model 'digits': it asks digits_net/1, which is missing; put that back, "
        "or remove digits/1 and publish again: slipway export digits"
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
