"""Triton's model config -> ONNX Runtime's session options and providers, as the native backend reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .graph import ModelRefused

CUDA, TENSORRT, OPENVINO, CPU = (
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "OpenVINOExecutionProvider",
    "CPUExecutionProvider",
)
_CUDNN_SEARCH = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
_ARENA = ("kNextPowerOfTwo", "kSameAsRequested")
_TENSORRT_KEYS = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_PRECISION = {"FP16": "trt_fp16_enable", "BF16": "trt_bf16_enable", "INT8": "trt_int8_enable", "FP32": ""}
_SESSION_PREFIXES = ("session.", "optimization.", "mlas.", "ep.")
_RUN_PREFIXES = ("memory.",)
# Threads that spin on after a run take the cores from Triton, which brings the next one.
_DEFAULTS = {"session.force_spinning_stop": "1"}

Provider = tuple[str, dict[str, str]]


@dataclass(frozen=True)
class Settings:
    """What a session is made with. Thread counts of 0 leave the choice to ONNX Runtime."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    parallel: bool = False
    level: str = "all"
    memory_arena: bool = True
    memory_pattern: bool = True
    session_entries: Mapping[str, str] = field(default_factory=dict[str, str])
    run_entries: Mapping[str, str] = field(default_factory=dict[str, str])
    libraries: tuple[str, ...] = ()


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The config's parameters, ``optimization.graph`` and custom operators.

    Raises :class:`ModelRefused` that names the parameter, its value and what is allowed.
    """
    parameters = _parameters(config)
    execution_mode = _number(parameters, "execution_mode", (0, 1))
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    return Settings(
        intra_op_threads=_number(parameters, "intra_op_thread_count"),
        inter_op_threads=_number(parameters, "inter_op_thread_count"),
        parallel=execution_mode == 1,
        level={-1: "basic", 1: "extended", 2: "none"}.get(level, "all"),
        memory_arena=_truth(parameters, "enable_mem_arena", True),
        memory_pattern=_truth(parameters, "enable_mem_pattern", True),
        session_entries=_DEFAULTS | _entries(parameters, _SESSION_PREFIXES),
        run_entries=_entries(parameters, _RUN_PREFIXES),
        libraries=tuple(config.get("model_operations", {}).get("op_library_filename", ())),
    )


def providers_of(config: Mapping[str, Any], kind: str, device_id: int, available: Sequence[str]) -> list[Provider]:
    """The execution providers of one instance, best first; the CPU's always last.

    Raises :class:`ModelRefused` when the config asks for one that this build of ONNX Runtime does not have.
    """
    chosen: list[Provider] = []
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    if kind == "GPU":
        cuda = _cuda_options(config)
        for accelerator in accelerators.get("gpu_execution_accelerator", ()):
            if accelerator["name"] == "tensorrt":
                chosen.append((TENSORRT, _tensorrt_options(accelerator.get("parameters", {}), device_id)))
            elif accelerator["name"] == "cuda":
                cuda |= accelerator.get("parameters", {})
            else:
                raise ModelRefused(f"there is no gpu_execution_accelerator '{accelerator['name']}'")
        chosen.append((CUDA, cuda | {"device_id": str(device_id)}))
    for accelerator in accelerators.get("cpu_execution_accelerator", ()):
        if accelerator["name"] != "openvino":
            raise ModelRefused(f"there is no cpu_execution_accelerator '{accelerator['name']}'")
        chosen.append((OPENVINO, {"device_type": "CPU"}))
    for name, _ in chosen:
        if name not in available:
            raise ModelRefused(
                f"its config asks for {name}, and the installed ONNX Runtime has only {', '.join(available)}; "
                "install a build that has it (onnxruntime-gpu for CUDA), or change the config"
            )
    return [*chosen, (CPU, {})]


def model_file(config: Mapping[str, Any], version: Path) -> Path:
    """The ONNX file of a version: ``default_model_filename``, and inside it ``model.onnx`` if that is a directory."""
    path = version / (config.get("default_model_filename") or "model.onnx")
    if path.is_dir():
        path /= "model.onnx"
    if not path.is_file():
        raise ModelRefused(f"{path} does not exist")
    return path


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: value.get("string_value", "") for key, value in config.get("parameters", {}).items()}


def _entries(parameters: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in parameters.items() if key.startswith(prefixes)}


def _number(parameters: Mapping[str, str], key: str, allowed: Sequence[int] = ()) -> int:
    text = parameters.get(key, "0")
    wanted = f"one of {', '.join(map(str, allowed))}" if allowed else "a whole number, at least 0"
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0 or (allowed and value not in allowed):
        raise ModelRefused(f"parameter {key} must be {wanted}, got '{text}'")
    return value


def _truth(parameters: Mapping[str, str], key: str, default: bool) -> bool:
    text = parameters.get(key, "")
    known = {"": default, "1": True, "true": True, "0": False, "false": False}
    if text.lower() not in known:
        raise ModelRefused(f"parameter {key} must be true or false, got '{text}'")
    return known[text.lower()]


def _cuda_options(config: Mapping[str, Any]) -> dict[str, str]:
    """CUDA's options that Triton also takes as plain parameters."""
    parameters = _parameters(config)
    found = {key: parameters[key] for key in ("gpu_mem_limit", "do_copy_in_default_stream") if key in parameters}
    for key, values in (("cudnn_conv_algo_search", _CUDNN_SEARCH), ("arena_extend_strategy", _ARENA)):
        if key in parameters:
            found[key] = values[_number(parameters, key, range(len(values)))]
    return found


def _tensorrt_options(parameters: Mapping[str, str], device_id: int) -> dict[str, str]:
    options = {"device_id": str(device_id)}
    for key, value in parameters.items():
        if key == "precision_mode":
            if value not in _PRECISION:
                raise ModelRefused(f"precision_mode must be one of {', '.join(_PRECISION)}, got {json.dumps(value)}")
            if _PRECISION[value]:
                options[_PRECISION[value]] = "1"
        else:
            options[_TENSORRT_KEYS.get(key, key)] = value
    return options
