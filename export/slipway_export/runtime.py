"""ONNX Runtime on the CPU, as far as export needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime

from slipway_core.errors import ExportFailed
from slipway_core.tensors import Array
from slipway_export.wording import one_line

_ERRORS_ONLY = 3


class Session:
    """A graph that can be run. Building and running raise :class:`ExportFailed`, in one line."""

    def __init__(self, model: str, content: bytes) -> None:
        self._model = model
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # its exceptions have no common base of their own
            raise ExportFailed(model, f"ONNX Runtime cannot load the graph: {_reason(e)}") from None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        try:
            arrays: Any = self._session.run(names, dict(inputs))
            return dict(zip(names, arrays, strict=True))
        except Exception as e:
            sizes = {len(array) for array in inputs.values()}
            batch = f" on a batch of {sizes.pop()}" if len(sizes) == 1 else ""
            raise ExportFailed(self._model, f"ONNX Runtime cannot run the graph{batch}: {_reason(e)}") from None


def _reason(error: Exception) -> str:
    """The end of the message: it begins with the place in ONNX Runtime's own source code."""
    text = one_line(error, limit=10_000)
    if "onnxruntime_src" in text:
        text = text.rpartition(") ")[2]
    return one_line(Exception(text))
