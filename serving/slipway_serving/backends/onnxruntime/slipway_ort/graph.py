"""What an ONNX graph takes and gives, compared with Triton's config of the model, and the config made from it.

The rules are those of Triton's native ONNX Runtime backend, so that a config which loads here loads there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# Triton's own default for a model that can batch and does not say how much.
DEFAULT_MAX_BATCH_SIZE = 4

DATATYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


class ModelRefused(Exception):
    """The model cannot be served as its config says; the message names model, tensor, expected and found."""


class Node(Protocol):
    """An input or output as ONNX Runtime describes it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[int | str | None]: ...


@dataclass(frozen=True)
class GraphTensor:
    """One input or output of the graph; -1 is a dimension of any length. No ``shape`` is a scalar."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @property
    def is_text(self) -> bool:
        return self.datatype == "TYPE_STRING"

    @property
    def can_batch(self) -> bool:
        return bool(self.shape) and self.shape[0] == -1


@dataclass(frozen=True)
class Served:
    """How one of the config's tensors travels.

    ``scalar_dims`` is set when the graph's tensor is a scalar: the shape that Triton knows it by.
    """

    name: str
    is_text: bool
    scalar_dims: tuple[int, ...] | None


@dataclass(frozen=True)
class Contract:
    """What the config promises and the graph keeps. ``uniform``: any two requests can be joined as they come."""

    inputs: Mapping[str, Served]
    outputs: Mapping[str, Served]
    batches: bool
    uniform: bool


@dataclass(frozen=True)
class Graph:
    """The graph's interface. ``defaults`` are inputs that a request may leave out."""

    model: str
    inputs: Mapping[str, GraphTensor]
    outputs: Mapping[str, GraphTensor]
    defaults: Mapping[str, GraphTensor]

    @classmethod
    def of(cls, model: str, inputs: Sequence[Node], outputs: Sequence[Node], defaults: Sequence[Node]) -> Graph:
        """Read the nodes; a kind of value that Triton cannot carry gets the datatype ONNX gives it."""
        return cls(model, _tensors(inputs), _tensors(outputs), _tensors(defaults))


def _tensors(nodes: Sequence[Node]) -> dict[str, GraphTensor]:
    return {
        node.name: GraphTensor(
            node.name,
            DATATYPES.get(node.type, node.type),
            # A symbolic dimension is a name, an unknown one None.
            tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ()),
        )
        for node in nodes
    }


def needs_completion(config: Mapping[str, Any]) -> bool:
    """Whether the graph has to be read to complete the config: it lacks all inputs, or all outputs."""
    return not config.get("input") or not config.get("output")


def completion(graph: Graph, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a config lacks: ``input``, ``output``, ``max_batch_size`` and ``dynamic_batching``, as Triton would.

    A graph whose every tensor starts with a free dimension batches: up to what the config says, else 4.
    """
    can_batch = all(tensor.can_batch for tensor in (*graph.inputs.values(), *graph.outputs.values()))
    stated = int(config.get("max_batch_size", 0))
    if stated and not can_batch:
        raise ModelRefused(
            f"model '{graph.model}' cannot batch, since not every input and output has a free first dimension, "
            f"but its config says max_batch_size {stated}; export it with a dynamic batch axis, or say 0"
        )
    size = (stated or DEFAULT_MAX_BATCH_SIZE) if can_batch else 0
    found: dict[str, Any] = {"max_batch_size": size}
    if size > 1 and "sequence_batching" not in config and "dynamic_batching" not in config:
        found["dynamic_batching"] = {}
    for key, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        if not config.get(key):
            found[key] = [_declared(graph.model, key, tensor, size > 0) for tensor in tensors.values()]
    return found


def _declared(model: str, key: str, tensor: GraphTensor, batches: bool) -> dict[str, Any]:
    _checked_datatype(model, key, tensor)
    dims = list(tensor.shape[1:] if batches else tensor.shape)
    declared: dict[str, Any] = {"name": tensor.name, "data_type": tensor.datatype, "dims": dims or [1]}
    if not dims and batches:  # one number per item: Triton wants a dimension, the graph has none
        declared["reshape"] = {"shape": []}
    return declared


def contract(graph: Graph, config: Mapping[str, Any]) -> Contract:
    """Compare config and graph. Raises :class:`ModelRefused` where Triton's native backend would refuse."""
    _refuse_what_only_native_can(graph.model, config)
    size = int(config.get("max_batch_size", 0))
    takes = {**graph.inputs, **graph.defaults}
    declared = [*config.get("input", ()), *_controls(config)]
    _check_input_names(graph, declared)
    inputs = {io["name"]: _served(graph.model, "input", io, takes, size) for io in declared}
    outputs = {io["name"]: _served(graph.model, "output", io, graph.outputs, size) for io in config["output"]}
    fixed = all(-1 not in _dims(io) for io in declared)
    uniform = size > 0 and fixed and not any(served.is_text for served in inputs.values())
    return Contract(inputs, outputs, size > 0, uniform)


def _refuse_what_only_native_can(model: str, config: Mapping[str, Any]) -> None:
    why = ""
    if config.get("sequence_batching", {}).get("state"):
        why = "keeps state between requests (sequence_batching.state)"
    elif config.get("batch_input") or config.get("batch_output"):
        why = "uses batch_input or batch_output"
    elif any(io.get("allow_ragged_batch") for io in config.get("input", ())):
        why = "allows ragged batches"
    if why:
        raise ModelRefused(
            f"model '{model}' {why}, which needs Triton's native ONNX Runtime backend: serve it with the official image"
        )
    for io in config.get("input", ()):
        if io.get("optional") and int(config.get("max_batch_size", 0)):
            raise ModelRefused(f"model '{model}' batches, so its input '{io['name']}' cannot be optional")


def _controls(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The inputs that Triton's sequence batcher adds: ``[1]`` each."""
    controls = config.get("sequence_batching", {}).get("control_input", ())
    return [{"name": control["name"], "dims": [1], "data_type": ""} for control in controls]


def _check_input_names(graph: Graph, declared: Sequence[Mapping[str, Any]]) -> None:
    names = {io["name"] for io in declared}
    missing = [name for name in graph.inputs if name not in names]
    if missing:
        raise ModelRefused(
            f"model '{graph.model}': the graph needs input '{missing[0]}', its config declares only {_listed(names)}"
        )


def _served(
    model: str, key: str, io: Mapping[str, Any], tensors: Mapping[str, GraphTensor], max_batch_size: int
) -> Served:
    tensor = tensors.get(io["name"])
    if tensor is None:
        raise ModelRefused(
            f"model '{model}': its config declares {key} '{io['name']}', the graph has only {_listed(tensors)}"
        )
    _checked_datatype(model, key, tensor)
    if io["data_type"] and io["data_type"] != tensor.datatype:
        raise ModelRefused(
            f"model '{model}', {key} '{tensor.name}': its config says {io['data_type']}, the graph {tensor.datatype}"
        )
    dims = _dims(io)
    if not tensor.shape and not max_batch_size:
        if any(size != 1 for size in dims):
            raise ModelRefused(
                f"model '{model}', {key} '{tensor.name}': its config says {list(dims)}, the graph has a scalar, "
                "which is written [1]"
            )
        return Served(tensor.name, tensor.is_text, dims)
    expected = (-1, *dims) if max_batch_size else dims
    if not _fits(expected, tensor.shape):
        batch = f" with the batch axis of max_batch_size {max_batch_size}" if max_batch_size else ""
        raise ModelRefused(
            f"model '{model}', {key} '{tensor.name}': its config says {list(expected)}{batch}, "
            f"the graph {list(tensor.shape)}"
        )
    return Served(tensor.name, tensor.is_text, None)


def _fits(expected: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether the graph takes whatever the config lets through."""
    return len(expected) == len(shape) and all(
        in_graph in (-1, in_config) for in_config, in_graph in zip(expected, shape, strict=True)
    )


def _dims(io: Mapping[str, Any]) -> tuple[int, ...]:
    """One item's dimensions as the graph sees them: Triton has reshaped it by then."""
    reshape = io.get("reshape")
    return tuple(int(size) for size in (reshape.get("shape", ()) if reshape is not None else io["dims"]))


def _checked_datatype(model: str, key: str, tensor: GraphTensor) -> None:
    if tensor.datatype in DATATYPES.values():
        return
    remedy = "; convert the classifier with zipmap off" if "seq(map" in tensor.datatype else ""
    raise ModelRefused(
        f"model '{model}', {key} '{tensor.name}' is {tensor.datatype}, which a Python backend cannot carry{remedy}"
    )


def _listed(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none"
