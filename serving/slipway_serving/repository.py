"""A model repository before Triton sees it: what it holds, in which order to load it, what is plainly wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from slipway_core.errors import RepositoryBroken
from slipway_core.layout import ModelDirectory, model_names

PYTHON_BACKED = ("python", "onnxruntime")  # on the embedded Triton


class Stage(IntEnum):
    """When a model is loaded: what others call comes first."""

    GRAPH = 0
    PYTHON = 1
    ENSEMBLE = 2


@dataclass(frozen=True)
class Model:
    """One published model. ``complete``: its config leaves Triton nothing to guess. ``workers``: processes it needs."""

    name: str
    stage: Stage
    complete: bool
    workers: int


@dataclass(frozen=True)
class Repository:
    """What a repository holds. ``unpublished`` are directories without a version, such as those of a fresh clone."""

    path: Path
    models: tuple[Model, ...]
    unpublished: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """How many worker processes the embedded Triton starts for it."""
        return sum(model.workers for model in self.models)

    @property
    def in_python(self) -> list[str]:
        """The models that are Python programs."""
        return [model.name for model in self.models if model.stage is Stage.PYTHON]

    def stages(self) -> list[list[str]]:
        """The models' names, in the order in which they are loaded; those of one stage at once."""
        return [names for stage in Stage if (names := [model.name for model in self.models if model.stage is stage])]


def read_repository(path: Path) -> Repository:
    """Read every model's config.

    Raises :class:`RepositoryBroken` when there is nothing to serve, or when a config cannot be read: with its line
    and column, before anything has been started.
    """
    if not path.is_dir():
        what = "is no folder" if path.exists() else "does not exist"
        raise RepositoryBroken(
            str(path), f"{what}; publish a model into it first, or give the path of a model repository"
        )
    names = model_names(path)
    unpublished = tuple(name for name in names if not ModelDirectory(path, name).versions())
    models = tuple(_model(ModelDirectory(path, name)) for name in names if name not in unpublished)
    if not models:
        without = f" ({', '.join(unpublished)}: no version yet)" if unpublished else ""
        raise RepositoryBroken(
            str(path), f"holds no published model{without}; publish one first: slipway export <model>"
        )
    return Repository(path, models, unpublished)


def _model(directory: ModelDirectory) -> Model:
    if shlex.quote(directory.model) != directory.model:
        raise RepositoryBroken(
            str(directory.path), "Triton cannot serve a model of this name; use letters, digits, '_', '-' and '.'"
        )
    config = _config(directory)
    backend = _backend(config)
    if config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        return Model(directory.model, Stage.ENSEMBLE, complete=True, workers=0)
    stage = Stage.PYTHON if backend == "python" else Stage.GRAPH
    complete = bool(backend) and _is_complete(config.input) and _is_complete(config.output)
    if stage is Stage.PYTHON and _completes_itself(directory):
        complete = False
    return Model(directory.model, stage, complete, _workers(directory, config))


def _config(directory: ModelDirectory) -> ModelConfig:
    if not directory.config.exists():
        return ModelConfig()
    try:
        config = text_format.Parse(directory.config.read_text(encoding="utf-8"), ModelConfig())
    except text_format.ParseError as e:
        raise RepositoryBroken(str(directory.config), _with_position(e)) from None
    except (OSError, UnicodeDecodeError) as e:
        raise RepositoryBroken(str(directory.config), f"cannot be read ({e})") from None
    if config.name and config.name != directory.model:
        raise RepositoryBroken(
            str(directory.config),
            f"says name {config.name!r}, but its directory is {directory.model!r}; both must agree",
        )
    return config


def _with_position(error: text_format.ParseError) -> str:
    match = re.match(r"^(\d+):(\d+) : (.*)$", str(error), re.S)
    message = " ".join((match[3] if match else str(error)).split())
    return f"line {match[1]}, column {match[2]}: {message}" if match else message


def _backend(config: ModelConfig) -> str:
    return config.backend or {"onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt"}.get(
        config.platform, config.platform
    )


def _is_complete(tensors: Sequence[ModelInput] | Sequence[ModelOutput]) -> bool:
    return bool(tensors) and all(tensor.name and tensor.data_type and tensor.dims for tensor in tensors)


def _completes_itself(directory: ModelDirectory) -> bool:
    """Whether a Python model has a say in its own config."""
    return any(
        "auto_complete_config" in file.read_text(encoding="utf-8", errors="replace")
        for version in directory.versions()
        for file in directory.version(version).glob("*.py")
    )


def _workers(directory: ModelDirectory, config: ModelConfig) -> int:
    if _backend(config) not in ("", *PYTHON_BACKED):
        return 0
    instances = sum(max(1, group.count) * max(1, len(group.gpus)) for group in config.instance_group) or 2
    return instances * _live_versions(directory, config)


def _live_versions(directory: ModelDirectory, config: ModelConfig) -> int:
    on_disk = len(directory.versions())
    policy = config.version_policy
    if policy.HasField("specific"):
        return len(policy.specific.versions)
    if policy.HasField("all"):
        return on_disk
    return min(on_disk, policy.latest.num_versions or 1)
