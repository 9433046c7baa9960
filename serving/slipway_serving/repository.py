"""A model repository before Triton sees it: what it holds, in which order to load it, what is plainly wrong."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from slipway_core.card import NET_SUFFIX
from slipway_core.errors import RepositoryBroken
from slipway_core.layout import ModelDirectory, model_names
from slipway_core.served import PREFIX

PYTHON_BACKED = ("python", "onnxruntime")  # on the embedded Triton


class Stage(IntEnum):
    """When a model is loaded: what others call comes first."""

    GRAPH = 0
    PYTHON = 1
    ENSEMBLE = 2


@dataclass(frozen=True)
class Model:
    """One published model. ``complete``: its config leaves Triton nothing to guess. ``workers``: processes it needs.

    ``net`` is the model that an image model asks, for each version in ``live`` that one's own; else empty.
    """

    name: str
    stage: Stage
    complete: bool
    workers: int
    live: tuple[int, ...]
    net: str = ""


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
    def broken(self) -> dict[str, str]:
        """The models that Triton would load and call ready although no request to them could be answered, and why."""
        live = {model.name: model.live for model in self.models}
        lacking = {
            model.name: [number for number in model.live if number not in live.get(model.net, ())]
            for model in self.models
            if model.net
        }
        return {name: self._lacks_net(name, numbers[0]) for name, numbers in lacking.items() if numbers}

    def require_whole(self) -> None:
        """Raise :class:`RepositoryBroken` when a model is broken."""
        if self.broken:
            raise RepositoryBroken(str(self.path), broken_line(self.broken))

    def _lacks_net(self, name: str, number: int) -> str:
        net = ModelDirectory(self.path, name + NET_SUFFIX)
        if net.version(number).is_dir():
            return (
                f"it asks {net.model}/{number}, which is not live; "
                f"add {number} to version_policy in {net.model}/{net.config.name}"
            )
        return (
            f"it asks {net.model}/{number}, which is missing; put that back, "
            f"or remove {name}/{number} and publish again: slipway export {name}"
        )

    @property
    def in_python(self) -> list[str]:
        """The models that are Python programs."""
        return [model.name for model in self.models if model.stage is Stage.PYTHON]

    def stages(self) -> list[list[str]]:
        """The models' names, in the order in which they are loaded; those of one stage at once."""
        return [names for stage in Stage if (names := [model.name for model in self.models if model.stage is stage])]


def read_repository(path: Path) -> Repository:
    """Read every model's config.

    Raises :class:`RepositoryBroken` when there is nothing to serve, when a file or folder cannot be read, or what a
    config says: with its line and column, before anything has been started.
    """
    try:
        return _read(path)
    except OSError as e:
        raise RepositoryBroken(*_unreadable(e, path)) from None


def broken_line(broken: Mapping[str, str]) -> str:
    """Models that cannot be served with their reasons, in one line."""
    return "; ".join(f"model {name!r}: {reason}" for name, reason in broken.items())


def _read(path: Path) -> Repository:
    if not path.is_dir():
        what = "is no folder" if path.exists() else "does not exist"
        raise RepositoryBroken(
            str(path), f"{what}; publish a model into it first, or give the path of a model repository"
        )
    _look_behind_links(path)
    names = model_names(path)
    for name in names:
        _look_behind_links(path / name)
        for number in ModelDirectory(path, name).versions():
            _look_behind_links(ModelDirectory(path, name).version(number))
    unpublished = tuple(name for name in names if not ModelDirectory(path, name).versions())
    models = tuple(_model(ModelDirectory(path, name)) for name in names if name not in unpublished)
    if not models:
        without = f" ({', '.join(unpublished)}: no version yet)" if unpublished else ""
        raise RepositoryBroken(
            str(path), f"holds no published model{without}; publish one first: slipway export <model>"
        )
    return Repository(path, models, unpublished)


def _look_behind_links(folder: Path) -> None:
    """Raise OSError for a link that leads nowhere; whoever asks what is a directory never hears of it."""
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() and not entry.name.startswith("."):
            entry.stat()


def _unreadable(error: OSError, repository: Path) -> tuple[str, str]:
    """What cannot be read, and why."""
    path = Path(error.filename or repository)
    why = (error.strerror or str(error)).lower()
    if path.is_symlink():
        return str(path), f"is a link to {path.readlink()}, which cannot be read ({why}); mend the link or remove it"
    return str(path), f"cannot be read ({why}); give this user the right to read it, or remove it"


def _model(directory: ModelDirectory) -> Model:
    if shlex.quote(directory.model) != directory.model:
        raise RepositoryBroken(
            str(directory.path), "Triton cannot serve a model of this name; use letters, digits, '_', '-' and '.'"
        )
    config = _config(directory)
    backend = _backend(config)
    live = _live_versions(directory, config)
    if config.HasField("ensemble_scheduling") or config.platform == "ensemble":
        return Model(directory.model, Stage.ENSEMBLE, complete=True, workers=0, live=live)
    stage = Stage.PYTHON if backend == "python" else Stage.GRAPH
    is_decoder = stage is Stage.PYTHON and f"{PREFIX}image" in config.parameters
    complete = bool(backend) and _is_complete(config.input) and _is_complete(config.output)
    if stage is Stage.PYTHON and _completes_itself(directory):
        complete = False
    return Model(
        directory.model,
        stage,
        complete,
        workers=_workers(config) * len(live),
        live=live,
        net=directory.model + NET_SUFFIX if is_decoder else "",
    )


def _config(directory: ModelDirectory) -> ModelConfig:
    if not directory.config.exists():
        return ModelConfig()
    try:
        config = text_format.Parse(directory.config.read_text(encoding="utf-8"), ModelConfig())
    except text_format.ParseError as e:
        raise RepositoryBroken(str(directory.config), _with_position(e)) from None
    except UnicodeDecodeError as e:
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


def _workers(config: ModelConfig) -> int:
    """How many processes each of its versions needs."""
    if _backend(config) not in ("", *PYTHON_BACKED):
        return 0
    return sum(max(1, group.count) * max(1, len(group.gpus)) for group in config.instance_group) or 2


def _live_versions(directory: ModelDirectory, config: ModelConfig) -> tuple[int, ...]:
    """Those that Triton loads, ascending."""
    on_disk = directory.versions()
    policy = config.version_policy
    if policy.HasField("specific"):
        return tuple(number for number in on_disk if number in policy.specific.versions)
    if policy.HasField("all"):
        return tuple(on_disk)
    return tuple(on_disk[-max(policy.latest.num_versions, 1) :])
