"""The parts of the stand-in backend that need no Triton: config against graph, settings, providers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway_serving.backends.onnxruntime.slipway_ort.graph import Graph, ModelRefused, completion, contract
from slipway_serving.backends.onnxruntime.slipway_ort.settings import Settings, model_file, providers_of, settings_of


@dataclass
class Node:
    name: str
    type: str
    shape: list[int | str | None]


def _graph(inputs: list[Node], outputs: list[Node], defaults: list[Node] | None = None) -> Graph:
    return Graph.of("m", inputs, outputs, defaults or [])


X, Y = Node("x", "tensor(float)", ["n", 2]), Node("y", "tensor(float)", [None, 3])
CONFIG = {
    "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}],
}


def test_a_config_that_fits_makes_a_contract() -> None:
    made = contract(_graph([X], [Y]), CONFIG)
    assert list(made.inputs) == ["x"]
    assert (made.batches, made.uniform) == (True, True)
    free = {**CONFIG, "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]}
    assert contract(_graph([Node("x", "tensor(float)", ["n", "m"])], [Y]), free).uniform is False


@pytest.mark.parametrize(
    ("graph", "change", "message"),
    [
        (
            _graph([Node("x", "tensor(float)", [1, 2])], [Y]),
            {},
            "model 'm', input 'x': its config says [-1, 2] with the batch axis of max_batch_size 8, the graph [1, 2]",
        ),
        (
            _graph([X], [Node("y", "seq(map(int64,tensor(float)))", [])]),
            {},
            "model 'm', output 'y' is seq(map(int64,tensor(float))), which a Python backend cannot carry; "
            "convert the classifier with zipmap off",
        ),
        (
            _graph([Node("x", "tensor(bfloat16)", ["n", 2])], [Y]),
            {},
            "model 'm', input 'x' is tensor(bfloat16), which a Python backend cannot carry",
        ),
        (
            _graph([X, Node("mask", "tensor(bool)", ["n"])], [Y]),
            {},
            "model 'm': the graph needs input 'mask', its config declares only 'x'",
        ),
        (
            _graph([X], [Y]),
            {"sequence_batching": {"state": [{}]}},
            "model 'm' keeps state between requests (sequence_batching.state), which needs Triton's native ONNX "
            "Runtime backend: serve it with the official image",
        ),
        (
            _graph([X], [Y]),
            {"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2], "optional": True}]},
            "model 'm' batches, so its input 'x' cannot be optional",
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused_naming_both(graph: Graph, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelRefused) as refused:
        contract(graph, {**CONFIG, **change})
    assert str(refused.value) == message


def test_inputs_with_a_default_may_be_declared_or_left_out() -> None:
    graph = _graph([X], [Y], [Node("scale", "tensor(float)", [1])])
    config = {**CONFIG, "max_batch_size": 0}
    config["input"] = [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 2]}]
    config["output"] = [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 3]}]
    assert list(contract(graph, config).inputs) == ["x"]
    config["input"].append({"name": "scale", "data_type": "TYPE_FP32", "dims": [1], "optional": True})
    assert list(contract(graph, config).inputs) == ["x", "scale"]


def test_control_inputs_of_sequences_count_as_declared() -> None:
    graph = _graph([X, Node("start", "tensor(float)", ["n", 1])], [Y])
    control = {"control_input": [{"name": "start", "control": []}]}
    assert set(contract(graph, {**CONFIG, "sequence_batching": control}).inputs) == {"x", "start"}


def test_completion_follows_tritons_rules() -> None:
    assert completion(_graph([X], [Y]), {}) == {
        "max_batch_size": 4,
        "dynamic_batching": {},
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}],
    }
    stated = completion(_graph([X], [Y]), {"max_batch_size": 32, "sequence_batching": {}, "input": CONFIG["input"]})
    assert stated == {"max_batch_size": 32, "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}]}
    fixed = completion(_graph([Node("x", "tensor(string)", [1])], [Node("y", "tensor(int64)", [])]), {})
    assert fixed == {
        "max_batch_size": 0,
        "input": [{"name": "x", "data_type": "TYPE_STRING", "dims": [1]}],
        "output": [{"name": "y", "data_type": "TYPE_INT64", "dims": [1]}],
    }
    with pytest.raises(ModelRefused, match=r"cannot batch, .* but its config says max_batch_size 8"):
        completion(_graph([Node("x", "tensor(float)", [1, 2])], [Y]), {"max_batch_size": 8})


def _with(**parameters: str) -> dict[str, Any]:
    return {"parameters": {key.replace("__", "."): {"string_value": value} for key, value in parameters.items()}}


def test_settings_are_read_as_the_native_backend_reads_them() -> None:
    config = _with(
        intra_op_thread_count="3",
        inter_op_thread_count="2",
        execution_mode="1",
        enable_mem_arena="0",
        enable_mem_pattern="False",
        session__set_denormal_as_zero="1",
        memory__enable_memory_arena_shrinkage="cpu:0",
        slipway__task="classification",
    ) | {"optimization": {"graph": {"level": -1}}}
    assert settings_of(config) == Settings(
        intra_op_threads=3,
        inter_op_threads=2,
        parallel=True,
        level="basic",
        memory_arena=False,
        memory_pattern=False,
        session_entries={"session.force_spinning_stop": "1", "session.set_denormal_as_zero": "1"},
        run_entries={"memory.enable_memory_arena_shrinkage": "cpu:0"},
    )


def test_threads_spin_during_a_run_only_unless_the_config_says_otherwise() -> None:
    assert settings_of({}).session_entries == {"session.force_spinning_stop": "1"}
    assert settings_of(_with(session__force_spinning_stop="0")).session_entries == {"session.force_spinning_stop": "0"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            _with(intra_op_thread_count="two"),
            "parameter intra_op_thread_count must be a whole number, at least 0, got 'two'",
        ),
        (_with(execution_mode="2"), "parameter execution_mode must be one of 0, 1, got '2'"),
        (_with(enable_mem_arena="maybe"), "parameter enable_mem_arena must be true or false, got 'maybe'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelRefused) as refused:
        settings_of(config)
    assert str(refused.value) == message


ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
TENSORRT = {"name": "tensorrt", "parameters": {"precision_mode": "FP16", "max_workspace_size_bytes": "1024"}}


def test_an_instance_runs_where_its_group_says() -> None:
    assert providers_of({}, "CPU", 0, ALL) == [("CPUExecutionProvider", {})]
    assert providers_of(_with(gpu_mem_limit="99", cudnn_conv_algo_search="1"), "GPU", 2, ALL) == [
        ("CUDAExecutionProvider", {"gpu_mem_limit": "99", "cudnn_conv_algo_search": "HEURISTIC", "device_id": "2"}),
        ("CPUExecutionProvider", {}),
    ]
    accelerated = {"optimization": {"execution_accelerators": {"gpu_execution_accelerator": [TENSORRT]}}}
    assert providers_of(accelerated, "GPU", 1, ALL) == [
        (
            "TensorrtExecutionProvider",
            {"device_id": "1", "trt_fp16_enable": "1", "trt_max_workspace_size": "1024"},
        ),
        ("CUDAExecutionProvider", {"device_id": "1"}),
        ("CPUExecutionProvider", {}),
    ]
    assert providers_of(accelerated, "CPU", 0, ALL) == [("CPUExecutionProvider", {})]


def test_a_provider_that_is_not_installed_is_refused_by_name() -> None:
    with pytest.raises(ModelRefused) as refused:
        providers_of({}, "GPU", 0, ["CPUExecutionProvider"])
    assert str(refused.value) == (
        "its config asks for CUDAExecutionProvider, and the installed ONNX Runtime has only CPUExecutionProvider; "
        "install a build that has it (onnxruntime-gpu for CUDA), or change the config"
    )


def test_the_graph_is_the_named_file_or_the_one_in_the_named_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"model\.onnx does not exist"):
        model_file({}, tmp_path)
    (tmp_path / "model.onnx").touch()
    assert model_file({}, tmp_path) == tmp_path / "model.onnx"
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "model.onnx").touch()
    assert model_file({"default_model_filename": "net"}, tmp_path) == tmp_path / "net" / "model.onnx"
