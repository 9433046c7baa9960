"""Which versions of a model are live: those that its ``config.pbtxt`` names and that lie on disk."""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from slipway_core.layout import ModelDirectory
from slipway_export.config import read_config


def live_versions(repository: Path, model: str) -> tuple[int, ...]:
    """The live versions, ascending; the last one answers requests that name none. Empty for an unknown model.

    Raises :class:`RepositoryBroken` when the model's ``config.pbtxt`` cannot be parsed.
    """
    return tuple(sorted(activation_order(ModelDirectory(repository, model))))


def activation_order(directory: ModelDirectory) -> list[int]:
    """The live versions, the newest activation last."""
    on_disk = directory.versions()
    if not on_disk or not directory.config.is_file():
        return []
    return [number for number in _named(read_config(directory.config), on_disk) if number in on_disk]


def _named(config: ModelConfig, on_disk: list[int]) -> list[int]:
    """What Triton would serve; slipway writes ``specific`` alone, other models may say otherwise."""
    policy = config.version_policy
    if policy.HasField("specific"):
        return [int(number) for number in policy.specific.versions]
    if policy.HasField("all"):
        return on_disk
    return on_disk[-max(policy.latest.num_versions, 1) :]
