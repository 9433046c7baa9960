"""TorchScript: models that torch.jit.script or torch.jit.trace made, with code in a language of their own."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import onnx
import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, UntrustedSource
from slipway_core.tensors import Array
from slipway_export.graph import Surgery, append_answers
from slipway_export.sources.torch_files import entries
from slipway_export.sources.torch_program import OPSET
from slipway_export.sources.torch_reference import TorchReference, quiet, reason, refuse_training, trains

# The operators of TorchScript that touch anything but tensors: files, and other machines.
_REACHES_OUT = re.compile(r"\b(save|from_file|rpc_async|rpc_sync|rpc_remote)\b")


class TorchScript:
    """A scripted or traced model of one FP32 input and one output.

    torch.jit.load runs no Python: a pickle in the archive is read by a reader of its own, which knows tensors and the
    archive's classes and refuses the name of anything else. But it runs TorchScript, ``__setstate__`` of a class on
    loading and ``forward`` afterwards, and that can write files (``torch.save``), read them (``torch.from_file``) and
    call other machines; code with such a word is refused before anything is loaded. (Each of this was tried.)

    torch.export takes no scripted module. The older exporter does, with the branches and loops that scripting kept.
    """

    libraries = ("torch",)

    def __init__(self, card: ModelCard, module: Any) -> None:
        self._card, self._module = card, module
        self._reference = TorchReference(card, module, _WHAT, _REMEDY)
        refuse_training(card, _WHAT, list(_training_operators(module)))
        self._reference.try_out()
        self._reference.require_independence()

    @classmethod
    def read(cls, card: ModelCard, content: bytes) -> TorchScript:
        """Load an archive. Raises :class:`UntrustedSource` before any of its code runs."""
        _refuse_reach(card, content)
        try:
            with quiet():
                module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
        except Exception as e:  # RuntimeError for everything
            raise ExportFailed(
                card.name, f"{card.source.path} cannot be loaded by torch {torch.__version__} ({reason(e)})"
            ) from None
        return cls(card, module)

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return self._reference.predict(inputs)

    def to_onnx(self) -> Surgery:
        written, name = io.BytesIO(), self._reference.input.name
        try:
            with quiet(), _nothing_on_stdout():
                torch.onnx.export(
                    self._module,
                    (self._reference.example,),
                    written,  # pyright: ignore[reportArgumentType]  (it takes streams too)
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=[name],
                    output_names=["raw"],
                    dynamic_axes={name: {0: "batch"}, "raw": {0: "batch"}},
                )
        except Exception as e:
            raise ExportFailed(self._card.name, _why_not(e)) from None
        surgery = Surgery(onnx.load_model_from_string(written.getvalue()))
        append_answers(surgery, surgery.graph.output[0].name, self._reference.kind)
        return surgery


_WHAT = "the TorchScript model"
_REMEDY = "trace it from code that takes any number of items (x.flatten(1) and x.shape[0], no number), or script it"


def _refuse_reach(card: ModelCard, content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = entries(archive)
        if "model.json" in names:
            raise ExportFailed(
                card.name, f"{card.source.path} was written by a torch before 1.4; save it anew with torch.jit.save"
            )
        code = [archive.read(entry) for entry in archive.infolist() if entry.filename.endswith(".py")]
    found = {
        f"calls of {word.group(1)}" for text in code for word in _REACHES_OUT.finditer(text.decode("utf-8", "replace"))
    }
    if len(set(names)) != len(names):
        found.add("two entries of one name")
    if found:
        raise UntrustedSource(card.name, str(card.source.path), sorted(found))


def _training_operators(module: Any) -> Iterator[str]:
    """Traced ones: a scripted module asks whether it is in training, and is told no."""
    graph = module.inlined_graph  # its nodes last as long as itself
    for node in (node for kind in _TRAINED for node in graph.findAllNodes(f"aten::{kind}")):
        given = [value.toIValue() for value in node.inputs()]
        names = re.findall(r"(\w+)(?:=[^,)]*)?[,)]", node.schema().partition(" -> ")[0])
        if trains(dict(zip(names, given, strict=False))):
            yield node.kind().removeprefix("aten::")


_TRAINED = (
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "batch_norm", "rrelu"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "scaled_dot_product_attention"),
)


@contextmanager
def _nothing_on_stdout() -> Generator[None]:
    """The exporter's compiled part writes a whole graph there when it fails, past ``sys.stdout``."""
    stdout, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(nowhere)


def _why_not(error: Exception) -> str:
    unknown = re.search(r"Exporting the operator '([\w:]+)' to ONNX", str(error))
    if unknown is None:
        return f"{_WHAT} cannot become ONNX: {reason(error)}"
    return (
        f"ONNX has no operator for {unknown.group(1)}; write that step with other operators, or convert the model to "
        "ONNX yourself and give it as source.kind = 'onnx'"
    )
