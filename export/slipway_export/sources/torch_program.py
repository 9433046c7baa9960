"""PyTorch models, saved with torch.export: programs that need no class of their own to be loaded."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array, TensorSpec
from slipway_export.answers import answers, check_width, raw_output_kind
from slipway_export.graph import RawOutput, Surgery, append_answers
from slipway_export.signature import source_inputs
from slipway_export.sources.pt2_archive import refuse_code
from slipway_export.wording import one_line

# The exporter writes its operators for this opset and translates to later ones afterwards.
OPSET = 18


class TorchProgram:
    """A program of one FP32 input ``[batch, ...]`` and one output, for any number of items."""

    libraries = ("torch", "onnxscript")

    def __init__(self, card: ModelCard, program: Any) -> None:
        self._card, self._program = card, program
        self._kind: RawOutput = raw_output_kind(card)
        self._input = _only_input(card)
        self._check_input()
        with _quiet():
            # The program's guards would refuse a batch of one wherever it was traced with two.
            self._module = program.module(check_guards=False)

    @classmethod
    def read(cls, card: ModelCard, content: bytes) -> TorchProgram:
        """Load a ``.pt2`` file. Raises :class:`UntrustedSource` before any object of it is built."""
        refuse_code(card, content)
        try:
            with _quiet():
                program = torch.export.load(io.BytesIO(content))
        except Exception as e:  # the loader has no exception of its own
            reason = (
                f"{card.source.path} cannot be loaded by torch {torch.__version__} ({one_line(e)}); export it again"
            )
            raise ExportFailed(card.name, reason) from None
        return cls(card, program)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = inputs[self._input.name]
        try:
            with torch.inference_mode(), _quiet():
                raw = self._module(torch.from_numpy(np.ascontiguousarray(batch))).numpy()
        except Exception as e:
            raise ExportFailed(
                self._card.name, f"the program does not run on a batch of {len(batch)} ({one_line(e)}); {_REMEDY}"
            ) from None
        if len(raw) != len(batch):
            raise ExportFailed(
                self._card.name, f"the program answers {len(raw)} items for a batch of {len(batch)}; {_REMEDY}"
            )
        check_width(self._card, raw.reshape(len(raw), -1).shape[1])
        return answers(raw, self._kind)

    def to_onnx(self) -> Surgery:
        try:
            with _quiet():
                converted = torch.onnx.export(self._program, dynamo=True, opset_version=OPSET, verbose=False)
                model = converted.model_proto  # pyright: ignore[reportOptionalMemberAccess]
        except Exception as e:
            raise ExportFailed(self._card.name, f"the program cannot become ONNX: {one_line(e)}") from None
        surgery = Surgery(model)
        surgery.rename(surgery.graph.input[0].name, self._input.name)
        append_answers(surgery, surgery.graph.output[0].name, self._kind)
        return surgery

    def _check_input(self) -> None:
        """One FP32 tensor of the card's shape whose batch axis is free, by what the program says of itself."""
        name, wanted = self._card.name, self._input
        used = [node for node in self._program.graph.nodes if node.name in self._program.graph_signature.user_inputs]
        if len(used) != 1:
            raise ExportFailed(name, f"the program takes {len(used)} tensors, the card makes one: {wanted}")
        meta = used[0].meta["val"]
        shape = ["batch" if at == 0 else int(size) for at, size in enumerate(meta.shape)]
        if meta.dtype != torch.float32 or shape[1:] != list(wanted.shape):
            ours = ["batch", *wanted.shape]
            raise ExportFailed(
                name, f"the program takes {str(meta.dtype).removeprefix('torch.')} {shape}, the card makes FP32 {ours}"
            )
        if isinstance(meta.shape[0], int):
            raise ExportFailed(name, f"the program takes batches of exactly {meta.shape[0]}; {_REMEDY}")
        limits = self._program.range_constraints.get(meta.shape[0].node.expr)
        if limits is not None and int(min(limits.upper, 2**31)) < self._card.batching.max_batch_size:
            most = self._card.batching.max_batch_size
            raise ExportFailed(
                name, f"the program takes at most {limits.upper} items, the card allows {most}; {_REMEDY}"
            )


read = TorchProgram.read


_REMEDY = 'export it with dynamic_shapes={"x": {0: torch.export.Dim("batch")}}, or lower batching.max_batch_size'


def _only_input(card: ModelCard) -> TensorSpec:
    specs = source_inputs(card)
    if len(specs) != 1:
        raise ExportFailed(card.name, "a torch model takes FP32 features only; mend the card's inputs")
    return specs[0]


@contextmanager
def _quiet() -> Generator[None]:
    """torch's exporter tells of its progress, of absent packages and of its own deprecations."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
