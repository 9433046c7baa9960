"""ONNX files from anywhere, taken as they are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, ValueInfoProto, helper

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR
from slipway_core.tensors import Array, TensorSpec, datatype_of
from slipway_export.answers import answers, check_width, raw_output_kind
from slipway_export.graph import MAX_IR_VERSION, RawOutput, Surgery, append_answers, input_names
from slipway_export.runtime import Session
from slipway_export.signature import source_inputs


class OnnxFile:
    """A graph whose inputs are the card's and whose first output is what ``source.output`` says.

    Without ``source.output`` the graph must give the contract's ``label`` and ``probabilities`` itself, as
    converters of classical models do.
    """

    libraries = ()

    def __init__(self, card: ModelCard, model: ModelProto) -> None:
        self._card, self._model = card, model
        self._inputs = self._matched_inputs()
        outputs = {value.name: value for value in model.graph.output}
        for name, value in outputs.items():
            if not value.type.HasField("tensor_type"):
                reason = f"the output {name!r} is no tensor (a ZipMap?); convert it with options={{'zipmap': False}}"
                raise ExportFailed(card.name, reason)
        self._complete = card.source.output is None and {LABEL_TENSOR, PROBABILITIES_TENSOR} <= outputs.keys()
        self._kind: RawOutput | None = None if self._complete else raw_output_kind(card)
        self._raw = outputs[PROBABILITIES_TENSOR] if self._complete else model.graph.output[0]
        self._check_output()
        self._session = Session(card.name, _readable(model).SerializeToString())

    @classmethod
    def read(cls, card: ModelCard, content: bytes) -> OnnxFile:
        path = card.source.file
        try:
            model = onnx.load_model_from_string(content)
        except DecodeError:
            raise ExportFailed(card.name, f"{path} is no ONNX model, or damaged or cut off; copy it again") from None
        if not model.graph.node or not model.graph.output:
            raise ExportFailed(card.name, f"{path} is no ONNX model, or damaged or cut off; copy it again")
        if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
            one_file = f'onnx.save(onnx.load("{path.name}"), "one-file.onnx")'
            raise ExportFailed(card.name, f"{path} keeps its weights in other files; make it one: {one_file}")
        return cls(card, model)

    def to_onnx(self) -> Surgery:
        surgery = Surgery(self._model)
        for theirs, ours in self._inputs.items():
            surgery.rename(theirs, ours)
        if self._kind is not None:
            append_answers(surgery, surgery.graph.output[0].name, self._kind)
        else:
            surgery.rename(surgery.append_column(LABEL_TENSOR), LABEL_TENSOR)
        return surgery

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        raw = self._session.run({theirs: inputs[ours] for theirs, ours in self._inputs.items()})
        if self._kind is None:
            check_width(self._card, raw[PROBABILITIES_TENSOR].shape[1])
            return {
                LABEL_TENSOR: raw[LABEL_TENSOR].reshape(-1, 1),
                PROBABILITIES_TENSOR: raw[PROBABILITIES_TENSOR],
            }
        first = raw[self._raw.name]
        check_width(self._card, first.reshape(len(first), -1).shape[1])
        return answers(first, self._kind)

    def _matched_inputs(self) -> dict[str, str]:
        """The card's tensor for each of the graph's; raises :class:`ExportFailed` where the two differ."""
        values = {value.name: value for value in self._model.graph.input}
        theirs = [_spec(self._card, values[name]) for name in input_names(self._model.graph)]
        ours = source_inputs(self._card)
        # A single tensor needs no name in common: there is only one way to match it.
        single = len(theirs) == len(ours) == 1
        matched = {spec.name: ours[0].name if single else spec.name for spec in theirs}
        wanted = {spec.name: spec for spec in ours}
        same_names = set(matched.values()) == wanted.keys()
        if not same_names or not all(_fits(wanted[matched[spec.name]], spec) for spec in theirs):
            graph, card = ", ".join(map(str, theirs)), ", ".join(map(str, ours))
            raise ExportFailed(self._card.name, f"the graph takes {graph}, the card makes {card}")
        return matched

    def _check_output(self) -> None:
        dims = self._raw.type.tensor_type.shape.dim
        if len(dims) == 2 and dims[1].HasField("dim_value"):
            check_width(self._card, dims[1].dim_value)


read = OnnxFile.read


def _readable(model: ModelProto) -> ModelProto:
    """The same graph in a container format that this ONNX Runtime takes: tools write newer ones than they need."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = min(copy.ir_version, MAX_IR_VERSION)
    return copy


def _spec(card: ModelCard, value: ValueInfoProto) -> TensorSpec:
    """One of the graph's inputs without its batch axis; an axis of any length is -1."""
    tensor = value.type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim]
    if not dims:
        raise ExportFailed(card.name, f"the graph's input {value.name!r} has no batch axis; export it with one")
    if dims[0] != -1:
        raise ExportFailed(
            card.name,
            f"the graph's input {value.name!r} takes batches of exactly {dims[0]}; export it with a dynamic batch axis",
        )
    if tensor.elem_type == onnx.TensorProto.STRING:
        return TensorSpec(value.name, "BYTES", tuple(dims[1:]))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return TensorSpec(value.name, datatype_of(np.empty(0, dtype)), tuple(dims[1:]))


def _fits(ours: TensorSpec, theirs: TensorSpec) -> bool:
    return (
        ours.datatype == theirs.datatype
        and len(ours.shape) == len(theirs.shape)
        and all(b in (-1, a) for a, b in zip(ours.shape, theirs.shape, strict=True))
    )
