"""PyTorch models, saved with torch.export: programs that need no class of their own to be loaded."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.graph import Surgery, append_answers
from slipway_export.sources.pt2_archive import refuse_code
from slipway_export.sources.torch_reference import TorchReference, quiet, reason, refuse_training, trains
from slipway_export.wording import one_line

# The exporter writes its operators for this opset and translates to later ones afterwards.
OPSET = 18

_WHAT = "the program"
_REMEDY = 'export it with dynamic_shapes={"x": {0: torch.export.Dim("batch")}}, or lower batching.max_batch_size'


class TorchProgram:
    """A program of one FP32 input ``[batch, ...]`` and one output, for any number of items."""

    libraries = ("torch", "onnxscript")

    def __init__(self, card: ModelCard, program: Any, what: str = _WHAT, remedy: str = _REMEDY) -> None:
        self._card, self._program, self._what, self._remedy = card, program, what, remedy
        with quiet():
            # The program's guards would refuse a batch of one wherever it was traced with two.
            module = program.module(check_guards=False)
        self._reference = TorchReference(card, module, what, remedy)
        self._check_input()
        refuse_training(card, what, list(_training_operators(program)))

    @classmethod
    def read(cls, card: ModelCard, content: bytes) -> TorchProgram:
        """Load a ``.pt2`` file. Raises :class:`UntrustedSource` before any object of it is built."""
        refuse_code(card, content)
        try:
            with quiet():
                program = torch.export.load(io.BytesIO(content))
        except Exception as e:  # the loader has no exception of its own
            why = f"{card.source.path} cannot be loaded by torch {torch.__version__} ({one_line(e)}); export it again"
            raise ExportFailed(card.name, why) from None
        return cls(card, program)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._reference.predict(inputs)

    def to_onnx(self) -> Surgery:
        try:
            with quiet():
                converted = torch.onnx.export(self._program, dynamo=True, opset_version=OPSET, verbose=False)
                model = converted.model_proto  # pyright: ignore[reportOptionalMemberAccess]
        except Exception as e:
            raise ExportFailed(self._card.name, self._why_not(e)) from None
        surgery = Surgery(model)
        surgery.rename(surgery.graph.input[0].name, self._reference.input.name)
        append_answers(surgery, surgery.graph.output[0].name, self._reference.kind)
        return surgery

    def _why_not(self, error: Exception) -> str:
        unknown = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(error))
        if unknown is None:
            return f"{self._what} cannot become ONNX: {reason(error)}"
        operator = unknown.group(1)
        place = _place_of(self._program, operator.rpartition(".")[2])
        at = f" ({place})" if place else ""
        return (
            f"ONNX has no operator for {operator}{at}; write that step with other operators, or convert the model "
            "to ONNX yourself and give it as source.kind = 'onnx'"
        )

    def _check_input(self) -> None:
        """One FP32 tensor of the card's shape whose batch axis is free, by what the program says of itself."""
        name, wanted = self._card.name, self._reference.input
        used = [node for node in self._program.graph.nodes if node.name in self._program.graph_signature.user_inputs]
        if len(used) != 1:
            raise ExportFailed(name, f"{self._what} takes {len(used)} tensors, the card makes one: {wanted}")
        meta = used[0].meta["val"]
        shape = ["batch" if at == 0 else int(size) for at, size in enumerate(meta.shape)]
        if meta.dtype != torch.float32 or shape[1:] != list(wanted.shape):
            ours = ["batch", *wanted.shape]
            raise ExportFailed(
                name,
                f"{self._what} takes {str(meta.dtype).removeprefix('torch.')} {shape}, the card makes FP32 {ours}",
            )
        if isinstance(meta.shape[0], int):
            raise ExportFailed(name, f"{self._what} takes batches of exactly {meta.shape[0]}; {self._remedy}")
        limits = self._program.range_constraints.get(meta.shape[0].node.expr)
        if limits is not None and int(min(limits.upper, 2**31)) < self._card.batching.max_batch_size:
            most = self._card.batching.max_batch_size
            raise ExportFailed(
                name, f"{self._what} takes at most {limits.upper} items, the card allows {most}; {self._remedy}"
            )


def _training_operators(program: Any) -> Iterator[str]:
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        names = [argument.name for argument in schema.arguments]
        if trains(dict(zip(names, node.args, strict=False)) | node.kwargs):
            place = _place(node)
            yield f"{node.target._opname} at {place}" if place else node.target._opname


def _place_of(program: Any, operator: str) -> str:
    """Where in the source an operator comes from: the model's own, or one of those into which torch divides it."""
    with quiet():
        divided = program.run_decompositions()
    named = [node for part in (program, divided) for node in part.graph.nodes if node.op == "call_function"]
    return next((_place(node) for node in named if getattr(node.target, "_opname", "").endswith(operator)), "")


def _place(node: Any) -> str:
    """The line of the model's own code; nothing when the file does not say."""
    places = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [(file, line) for file, line in places if "torch" not in Path(file).parts] or places
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}" if own else ""
