"""Opening a graph with ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from .graph import Graph, ModelRefused
from .settings import CPU, Provider, Settings

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


def available_providers() -> list[str]:
    """The execution providers that the installed ONNX Runtime was built with."""
    return list(ort.get_available_providers())


class Session:
    """An opened graph. Raises :class:`ModelRefused` when its best provider does not start."""

    def __init__(self, path: Path, settings: Settings, providers: Sequence[Provider] = ((CPU, {}),)) -> None:
        self._session: Any = ort.InferenceSession(path, _options(settings), providers=list(providers))
        started = self._session.get_providers()
        if started[0] != providers[0][0]:  # ONNX Runtime falls back to the CPU with a mere warning
            raise ModelRefused(f"{providers[0][0]} did not start; look at the GPU's driver and libraries")
        self._run_options = _run_options(settings)
        self._run = self._session.run

    def graph(self, model: str) -> Graph:
        """Its interface; ``model`` is for messages."""
        session = self._session
        return Graph.of(model, session.get_inputs(), session.get_outputs(), session.get_overridable_initializers())

    def run(self, wanted: list[str], feeds: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """The wanted outputs, in that order."""
        return self._run(wanted, feeds, self._run_options)


def _options(settings: Settings) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # below errors it tells of its own optimisations
    options.intra_op_num_threads = settings.intra_op_threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.enable_cpu_mem_arena = settings.memory_arena
    options.enable_mem_pattern = settings.memory_pattern
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL if settings.parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = _LEVELS[settings.level]
    for key, value in settings.session_entries.items():
        options.add_session_config_entry(key, value)
    for library in settings.libraries:
        options.register_custom_ops_library(os.fspath(library))
    return options


def _run_options(settings: Settings) -> Any:
    if not settings.run_entries:
        return None
    options = ort.RunOptions()
    for key, value in settings.run_entries.items():
        options.add_run_config_entry(key, value)
    return options
