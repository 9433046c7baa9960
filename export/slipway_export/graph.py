"""ONNX surgery: what slipway puts before and behind a trained model's graph, and the form in which it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, helper, numpy_helper

from slipway_core.errors import ExportFailed
from slipway_core.images import ImageSpec
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR, VALUE_TENSOR
from slipway_core.tensors import Array, TensorSpec, numpy_dtype
from slipway_export.signature import IMAGE_TENSOR, Signature
from slipway_export.wording import one_line

# Triton 24.10 brings ONNX Runtime 1.19, which reads these and nothing newer. ("IR" versions the container format,
# the opset the operators.) Below IR 4 initializers had to be inputs as well, which keeps them from being folded.
MIN_IR_VERSION = 8
MAX_IR_VERSION = 10
MAX_OPSET = 21
MAX_ML_OPSET = 4
ML_DOMAIN = "ai.onnx.ml"

RawOutput = Literal["logits", "probabilities", "value"]


class Surgery:
    """A copy of a model to which nodes are added; new names never collide with the model's own."""

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self._taken = set(_names(self.graph))

    def fresh(self, wish: str) -> str:
        """A name that no value has yet: the wish itself, or the wish with a number."""
        name, number = wish, 0
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name

    def claim(self, name: str) -> str:
        """This very name; a value of the model that has it gets another one."""
        if name in self._taken:
            _rename(self.graph, name, self.fresh(f"source_{name}"))
        self._taken.add(name)
        return name

    def rename(self, old: str, new: str) -> None:
        """Give a value this very name wherever it occurs."""
        if old != new:
            self.claim(new)
            _rename(self.graph, old, new)

    def constant(self, wish: str, array: Array) -> str:
        """Add an initializer and return its name."""
        name = self.fresh(wish)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def append(self, operator: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """Add a node behind all others and return its output's name."""
        output = self.fresh(f"slipway_{operator}")
        self.graph.node.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def append_column(self, value: str) -> str:
        """Reshape ``[n]`` or ``[n, 1]`` to ``[n, 1]``."""
        return self.append("Reshape", [value, self.constant("slipway_column", np.array([-1, 1]))])

    def require_ml_opset(self, version: int) -> None:
        """Raise the version of the classical-ML operators to at least this one."""
        versions = {entry.domain: entry.version for entry in self.model.opset_import}
        versions[ML_DOMAIN] = max(versions.get(ML_DOMAIN, 1), version)
        _set_opsets(self.model, versions)


def input_names(graph: GraphProto) -> list[str]:
    """The names that a caller feeds: old files list their initializers among the inputs as well."""
    initializers = {tensor.name for tensor in graph.initializer}
    return [value.name for value in graph.input if value.name not in initializers]


def prepend_image_preparation(surgery: Surgery, spec: ImageSpec) -> None:
    """Put ``image``, uint8 ``[n, h, w, c]``, before the graph's one FP32 ``[n, c, h, w]`` input.

    The same operations in the same order and precision as :func:`slipway_core.images.normalised`, so that both
    give the same bits.
    """
    (inner,) = input_names(surgery.graph)
    prepared = surgery.fresh("normalised")
    _rename(surgery.graph, inner, prepared)
    own_nodes = list(surgery.graph.node)
    del surgery.graph.node[:]
    x = surgery.append("Cast", [surgery.claim(IMAGE_TENSOR)], to=onnx.TensorProto.FLOAT)
    x = surgery.append("Div", [x, surgery.constant("slipway_255", np.float32(255).reshape(1))])
    if any(spec.mean):
        x = surgery.append("Sub", [x, surgery.constant("slipway_mean", np.asarray(spec.mean, np.float32))])
    if any(std != 1 for std in spec.std):
        x = surgery.append("Div", [x, surgery.constant("slipway_std", np.asarray(spec.std, np.float32))])
    transpose = helper.make_node("Transpose", [x], [prepared], name="slipway_Transpose", perm=[0, 3, 1, 2])
    surgery.graph.node.extend([transpose, *own_nodes])


def append_answers(surgery: Surgery, raw: str, kind: RawOutput) -> None:
    """Make the contract's outputs of a model's raw one; ties go to the first label."""
    raw = surgery.append("Cast", [raw], to=onnx.TensorProto.FLOAT)
    if kind == "value":
        surgery.rename(surgery.append_column(raw), VALUE_TENSOR)
        return
    # From the logits: two of them may differ where their probabilities, rounded, no longer do.
    label = surgery.append("ArgMax", [raw], axis=1, keepdims=1)
    probabilities = surgery.append("Softmax", [raw], axis=1) if kind == "logits" else raw
    surgery.rename(label, LABEL_TENSOR)
    surgery.rename(probabilities, PROBABILITIES_TENSOR)


def published_form(surgery: Surgery, name: str, signature: Signature) -> bytes:
    """The graph's bytes with the contract's inputs and outputs: for the same model the same bytes on every run.

    Raises :class:`ExportFailed` when Triton's ONNX Runtime could not read it.
    """
    model, graph = surgery.model, surgery.graph
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(_declared(spec) for spec in signature.inputs)
    graph.output.extend(_declared(spec) for spec in signature.outputs)
    model.ir_version = min(max(model.ir_version, MIN_IR_VERSION), MAX_IR_VERSION)
    _set_opsets(model, _readable_opsets(model, name))
    # Tools leave traces here: their version, time stamps, file paths and the lines of the training code.
    model.producer_name, graph.name = "slipway", name
    for field in ("producer_version", "doc_string", "domain", "model_version", "metadata_props"):
        model.ClearField(field)
    for part in (graph, *graph.initializer, *_nodes(graph)):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as e:
        raise ExportFailed(name, f"the graph is not valid ONNX: {one_line(e)}") from None
    return model.SerializeToString(deterministic=True)


def _readable_opsets(model: ModelProto, name: str) -> dict[str, int]:
    """The versions of the operator sets that the nodes use."""
    used = {_domain(node) for node in (*_nodes(model.graph), *(n for f in model.functions for n in f.node))}
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        if _domain(entry) in used:
            versions[_domain(entry)] = max(entry.version, versions.get(_domain(entry), 1))
    for domain, newest in (("", MAX_OPSET), (ML_DOMAIN, MAX_ML_OPSET)):
        if versions.get(domain, 1) > newest:
            raise ExportFailed(
                name,
                f"its graph uses opset {versions[domain]} of {domain or 'ai.onnx'}, Triton's ONNX Runtime reads at "
                f"most {newest}; export it with opset {newest}",
            )
    return versions


def _domain(part: NodeProto | OperatorSetIdProto) -> str:
    """The operator set's name; the default one has two."""
    return "" if part.domain == "ai.onnx" else part.domain


def _set_opsets(model: ModelProto, versions: Mapping[str, int]) -> None:
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, versions[domain]) for domain in sorted(versions))


def _declared(spec: TensorSpec) -> onnx.ValueInfoProto:
    kind = (
        onnx.TensorProto.STRING
        if spec.datatype == "BYTES"
        else helper.np_dtype_to_tensor_dtype(numpy_dtype(spec.datatype))
    )
    return helper.make_tensor_value_info(spec.name, kind, ["batch", *spec.shape])


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of branches and loops included."""
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _nodes(inner)


def _names(graph: GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for node in _nodes(graph):
        yield from node.input
        yield from node.output


def _rename(graph: GraphProto, old: str, new: str) -> None:
    """Rename a value everywhere: ONNX forbids that a branch's own value has an outer one's name."""
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        if value.name == old:
            value.name = new
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new
        for inner in _subgraphs(node):
            _rename(inner, old, new)
