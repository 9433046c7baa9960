"""The stand-in for Triton's ONNX Runtime backend, asked through a real Triton."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slipway_client import Client
from slipway_core.errors import InferenceFailed, InvalidInput, RepositoryBroken
from slipway_core.tensors import numpy_dtype
from support.triton import FLOAT, INT64, STRING, RunningTriton, ask, publish

DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
}
BATCHING = "dynamic_batching { max_queue_delay_microseconds: 100000 }"


@pytest.fixture(scope="module")
def client(triton: RunningTriton) -> Iterator[Client]:
    with Client(triton.grpc) as connected:
        yield connected


def _io(key: str, name: str, datatype: str, dims: str) -> str:
    return f'{key} {{ name: "{name}" data_type: TYPE_{datatype} dims: {dims} }}\n'


def _publish_every_datatype(repository: Path) -> None:
    """One input and one output of each datatype, every output its input."""
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in DATATYPES]
    config = "max_batch_size: 8\ndynamic_batching { }\n" + "".join(
        _io("input", f"in_{name}", name, "3") + _io("output", f"out_{name}", name, "3") for name in DATATYPES
    )
    publish(
        repository,
        "every_datatype",
        nodes,
        {f"in_{name}": (kind, ["n", 3]) for name, kind in DATATYPES.items()},
        {f"out_{name}": (kind, ["n", 3]) for name, kind in DATATYPES.items()},
        config,
    )


@pytest.mark.parametrize("batch", [1, 5, 8])
def test_every_numeric_datatype_comes_back_as_it_went_in(batch: int, triton: RunningTriton, client: Client) -> None:
    if not client.model_ready("every_datatype"):
        _publish_every_datatype(triton.repository)
        client.load("every_datatype")
    random = np.random.default_rng(batch)
    given = {f"in_{name}": random.integers(0, 2, (batch, 3)).astype(numpy_dtype(name)) for name in DATATYPES}
    answer = ask(triton, "every_datatype", given)
    for name in DATATYPES:
        np.testing.assert_array_equal(answer[f"out_{name}"], given[f"in_{name}"])
        assert answer[f"out_{name}"].dtype == numpy_dtype(name)


def test_only_the_outputs_asked_for_are_answered(triton: RunningTriton, client: Client) -> None:
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Abs", ["x"], ["size"])]
    config = "max_batch_size: 8\n" + _io("input", "x", "FP32", "2")
    config += _io("output", "minus", "FP32", "2") + _io("output", "size", "FP32", "2")
    two = {"minus": (FLOAT, ["n", 2]), "size": (FLOAT, ["n", 2])}
    publish(triton.repository, "two_outputs", nodes, {"x": (FLOAT, ["n", 2])}, two, config + BATCHING)
    client.load("two_outputs")
    given = np.array([[1, -2]], np.float32)
    assert set(ask(triton, "two_outputs", {"x": given})) == {"minus", "size"}
    wanted = [["minus"], ["size"], ["minus", "size"]] * 4
    with ThreadPoolExecutor(len(wanted)) as threads:  # joined into one run, each answered as it asked
        answers = list(threads.map(lambda names: ask(triton, "two_outputs", {"x": given}, names), wanted))
    for names, answer in zip(wanted, answers, strict=True):
        assert set(answer) == set(names)
        assert all(np.array_equal(answer[name], {"minus": [[-1, 2]], "size": [[1, 2]]}[name]) for name in names)


def _publish_text(repository: Path) -> None:
    config = "max_batch_size: 8\n" + _io("input", "x", "STRING", "[-1]") + _io("output", "y", "STRING", "[-1]")
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    publish(repository, "text", nodes, {"x": (STRING, ["n", "m"])}, {"y": (STRING, ["n", "m"])}, config + BATCHING)


def test_text_goes_in_and_out_with_umlauts_zeros_and_empty_strings(triton: RunningTriton, client: Client) -> None:
    _publish_text(triton.repository)
    client.load("text")
    given = np.array([["grün", "", "a\0b"], ["日本", "x" * 5000, " "]], np.object_)
    answer = ask(triton, "text", {"x": given})["y"]
    assert [[element.decode() for element in row] for row in answer.tolist()] == given.tolist()


def test_text_that_is_no_utf_8_is_refused_by_its_position(triton: RunningTriton, client: Client) -> None:
    if not client.model_ready("text"):
        _publish_text(triton.repository)
        client.load("text")
    with pytest.raises(InvalidInput, match=r"^input 'x': element 1 is not UTF-8 text$"):
        client.infer("text", {"x": np.array([[b"fine", b"\xff\xfe"]], np.object_)})


def test_tensors_of_size_zero_are_answered(triton: RunningTriton, client: Client) -> None:
    """As a batch where the model's own first axis is free (Triton itself refuses a batch of 0), and as a length."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    shape = (FLOAT, ["n", "length"])
    io = _io("input", "x", "FP32", "[-1, -1]") + _io("output", "y", "FP32", "[-1, -1]")
    publish(triton.repository, "zero_rows", nodes, {"x": shape}, {"y": shape}, io)
    io = "max_batch_size: 8\n" + _io("input", "x", "FP32", "[-1]") + _io("output", "y", "FP32", "[-1]")
    publish(triton.repository, "zero_length", nodes, {"x": shape}, {"y": shape}, io)
    client.load("zero_rows")
    client.load("zero_length")
    assert ask(triton, "zero_rows", {"x": np.empty((0, 2), np.float32)})["y"].shape == (0, 2)
    assert ask(triton, "zero_length", {"x": np.empty((3, 0), np.float32)})["y"].shape == (3, 0)


def test_text_of_size_zero_is_answered(triton: RunningTriton, client: Client) -> None:
    if not client.model_ready("text"):
        _publish_text(triton.repository)
        client.load("text")
    assert ask(triton, "text", {"x": np.empty((2, 0), np.object_)})["y"].shape == (2, 0)


def test_a_model_without_a_batch_axis_and_with_scalars_is_served(triton: RunningTriton, client: Client) -> None:
    config = _io("input", "x", "FP32", "[2, 2]") + _io("input", "factor", "FP32", "[1]")
    config += _io("output", "y", "FP32", "[2, 2]") + _io("output", "sum", "FP32", "[1]")
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0),
    ]
    shapes = {"x": (FLOAT, [2, 2]), "factor": (FLOAT, [])}
    publish(triton.repository, "scalars", nodes, shapes, {"y": (FLOAT, [2, 2]), "sum": (FLOAT, [])}, config)
    client.load("scalars")
    given = {"x": np.ones((2, 2), np.float32), "factor": np.array([3], np.float32)}
    answer = ask(triton, "scalars", given)
    np.testing.assert_array_equal(answer["y"], np.full((2, 2), 3))
    assert answer["sum"].tolist() == [12]


def test_one_number_per_item_is_served_through_reshape(triton: RunningTriton, client: Client) -> None:
    config = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } }
output { name: "y" data_type: TYPE_FP32 dims: 1 reshape { shape: [] } }
"""
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    publish(triton.repository, "reshaped", nodes, {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])}, config)
    client.load("reshaped")
    assert ask(triton, "reshaped", {"x": np.array([[1], [2]], np.float32)})["y"].tolist() == [[-1], [-2]]


def test_requests_of_one_execution_are_joined_and_split_again(triton: RunningTriton, client: Client) -> None:
    config = "max_batch_size: 64\n" + _io("input", "x", "FP32", "2") + _io("output", "y", "FP32", "2") + BATCHING
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    publish(triton.repository, "joined", nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, config)
    client.load("joined")
    given = [np.full((1 + at % 3, 2), at, np.float32) for at in range(24)]
    with ThreadPoolExecutor(len(given)) as threads:
        answers = list(threads.map(lambda x: client.infer("joined", {"x": x}).tensors["y"], given))
    for x, y in zip(given, answers, strict=True):
        np.testing.assert_array_equal(y, x + x)
    statistics = client.statistics("joined").model_stats[0]
    assert statistics.execution_count < len(given), "no two requests were run together"


def test_requests_of_different_lengths_are_answered_side_by_side(triton: RunningTriton, client: Client) -> None:
    config = "max_batch_size: 64\n" + _io("input", "x", "INT64", "[-1]") + _io("output", "y", "INT64", "[-1]")
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    shape = (INT64, ["n", "length"])
    publish(triton.repository, "lengths", nodes, {"x": shape}, {"y": shape}, config + BATCHING)
    client.load("lengths")
    given = [np.arange(1 + at % 5, dtype=np.int64).reshape(1, -1) for at in range(20)]
    with ThreadPoolExecutor(len(given)) as threads:
        answers = list(threads.map(lambda x: client.infer("lengths", {"x": x}).tensors["y"], given))
    for x, y in zip(given, answers, strict=True):
        np.testing.assert_array_equal(y, x + x)


def test_a_request_that_fails_fails_alone(triton: RunningTriton, client: Client) -> None:
    """The index 99 is out of the table's bounds: the joined run fails, and so does that one request by itself."""
    table = numpy_helper.from_array(np.arange(10, dtype=np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "x"], ["y"])]
    config = "max_batch_size: 64\n" + _io("input", "x", "INT64", "1") + _io("output", "y", "FP32", "1") + BATCHING
    shapes = ({"x": (INT64, ["n", 1])}, {"y": (FLOAT, ["n", 1])})
    publish(triton.repository, "table", nodes, *shapes, config, initializers=[table])
    client.load("table")

    def look_up(index: int) -> float | str:
        try:
            return float(client.infer("table", {"x": np.array([[index]])}).tensors["y"][0, 0])
        except (InvalidInput, InferenceFailed) as e:
            return str(e)

    indices = [1, 99, 2, 3, 99, 4, 5, 6]
    with ThreadPoolExecutor(len(indices)) as threads:
        answers = list(threads.map(look_up, indices))
    for index, answer in zip(indices, answers, strict=True):
        if index == 99:
            assert isinstance(answer, str)
            assert "onnx runtime: " in answer
            assert "idx=99" in answer
        else:
            assert answer == index


def test_a_graph_that_loses_the_batch_is_told_apart_from_an_answer(triton: RunningTriton, client: Client) -> None:
    column = numpy_helper.from_array(np.array([-1, 1]), "column")
    nodes = [helper.make_node("Reshape", ["x", "column"], ["y"])]
    config = "max_batch_size: 8\n" + _io("input", "x", "FP32", "2") + _io("output", "y", "FP32", "1")
    shapes = ({"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["m", 1])})
    publish(triton.repository, "loses_batch", nodes, *shapes, config, initializers=[column])
    client.load("loses_batch")
    with pytest.raises(
        InferenceFailed, match=r"output 'y' has shape \[6, 1\] for a batch of 3: its first dimension must be the batch"
    ):
        client.infer("loses_batch", {"x": np.ones((3, 2), np.float32)})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (np.ones((1, 5), np.float32), ("[-1,2]", "[1,5]")),
        (np.ones((1, 2), np.int64), ("INT64", "FP32")),
        (np.ones((2,), np.float32), ("[-1,2]", "[2]")),
    ],
)
def test_a_wrong_shape_or_datatype_is_refused_naming_both(
    given: np.ndarray, named: tuple[str, str], client: Client
) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.infer("doubler", {"x": given})
    assert all(part in str(refused.value).replace(", ", ",") for part in named)


def test_a_version_is_a_file_of_another_name_or_a_directory(triton: RunningTriton, client: Client) -> None:
    config = 'max_batch_size: 8\ndefault_model_filename: "graph.bin"\n'
    config += _io("input", "x", "FP32", "2") + _io("output", "y", "FP32", "2")
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    one = publish(triton.repository, "renamed", nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, config)
    (one / "model.onnx").rename(one / "graph.bin")
    directory = triton.repository / "renamed" / "2" / "graph.bin"
    directory.mkdir(parents=True)
    model = onnx.load(one / "graph.bin")
    model.graph.node[0].op_type = "Abs"
    onnx.save(model, directory / "model.onnx")
    with (triton.repository / "renamed" / "config.pbtxt").open("a") as out:
        out.write("version_policy: { all { } }\n")
    client.load("renamed")
    given = np.array([[1, -2]], np.float32)
    assert client.infer("renamed", {"x": given}, version="1").tensors["y"].tolist() == [[-1, 2]]
    assert client.infer("renamed", {"x": given}, version="2").tensors["y"].tolist() == [[1, 2]]


def test_several_instances_and_every_session_setting_answer(triton: RunningTriton, client: Client) -> None:
    settings = {
        "intra_op_thread_count": "2",
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "enable_mem_arena": "1",
        "enable_mem_pattern": "false",
        "session.intra_op.allow_spinning": "0",
        "memory.enable_memory_arena_shrinkage": "cpu:0",
    }
    config = "max_batch_size: 8\n" + _io("input", "x", "FP32", "2") + _io("output", "y", "FP32", "2")
    config += "optimization { graph { level: 1 } }\ninstance_group { count: 2 kind: KIND_CPU }\n"
    config += "".join(f'parameters {{ key: "{k}" value {{ string_value: "{v}" }} }}\n' for k, v in settings.items())
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    publish(triton.repository, "tuned", nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, None)
    head = 'name: "tuned"\nbackend: "onnxruntime"\n'
    (triton.repository / "tuned" / "config.pbtxt").write_text(head + config)
    client.load("tuned")
    answers = [client.infer("tuned", {"x": np.ones((1, 2), np.float32)}).tensors["y"].tolist() for _ in range(8)]
    assert answers == [[[2, 2]]] * 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dims: 2 }\noutput", "dims: 3 }\noutput", r"input 'x': its config says \[-1, 3\] .*, the graph \[-1, 2\]"),
        (
            "TYPE_FP32 dims: 2 }\noutput",
            "TYPE_INT32 dims: 2 }\noutput",
            "its config says TYPE_INT32, the graph TYPE_FP32",
        ),
        ('name: "y"', 'name: "z"', "its config declares output 'z', the graph has only 'y'"),
        ('name: "x"', 'name: "w"', "the graph needs input 'x', its config declares only 'w'"),
        (
            'string_value: "1"',
            'string_value: "many"',
            "parameter intra_op_thread_count must be a whole number, .*'many'",
        ),
        ("dynamic", 'default_model_filename: "gone.onnx"\ndynamic', r"gone\.onnx"),
        ("count: 1 kind: KIND_CPU", "count: 1 kind: KIND_GPU", "KIND_GPU but no GPUs are available"),
    ],
)
def test_a_config_that_does_not_fit_its_graph_is_refused_in_one_line(
    old: str, new: str, message: str, triton: RunningTriton, client: Client
) -> None:
    name = f"unfit_{abs(hash((old, new)))}"
    config = 'max_batch_size: 8\ninput { name: "x" data_type: TYPE_FP32 dims: 2 }\n'
    config += 'output { name: "y" data_type: TYPE_FP32 dims: 2 }\ndynamic_batching { }\n'
    nodes = [helper.make_node("Add", ["x", "x"], ["y"])]
    publish(triton.repository, name, nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])}, config)
    path = triton.repository / name / "config.pbtxt"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RepositoryBroken) as refused:
        client.load(name)
    assert re.search(message, str(refused.value)), str(refused.value)
    assert "\n" not in str(refused.value)
