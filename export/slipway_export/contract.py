"""What clients rely on: inputs, outputs and labels of a published model, and how two of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelOutput

from slipway_core.served import PREFIX


def change(published: ModelConfig, new: ModelConfig) -> tuple[str, str, str] | None:
    """What differs, as it is published and as it would be; None when old clients can go on."""
    for what, old, now in (
        ("role", parameter(published, "role"), parameter(new, "role")),
        ("task", parameter(published, "task"), parameter(new, "task")),
        ("inputs", _tensors(published.input), _tensors(new.input)),
        ("features", _features(published), _features(new)),
        ("outputs", _tensors(published.output), _tensors(new.output)),
    ):
        if old != now:
            return what, old or "none", now or "none"
    return _label_change(labels(published), labels(new))


def _label_change(old: Sequence[Any], new: Sequence[Any]) -> tuple[str, str, str] | None:
    if len(old) != len(new):
        return "labels", f"{len(old)} names", f"{len(new)} names"
    for position, (was, becomes) in enumerate(zip(old, new, strict=True)):
        if was != becomes:
            return "labels", f"{was!r} at position {position}", f"{becomes!r} at position {position}"
    return None


def _tensors(specs: Sequence[ModelInput] | Sequence[ModelOutput]) -> str:
    return ", ".join(
        f"{spec.name} {DataType.Name(spec.data_type).removeprefix('TYPE_')}{list(spec.dims)}" for spec in specs
    )


def _features(config: ModelConfig) -> str:
    """Names, types and units in their order: a swapped pair or another unit breaks clients without an error."""
    return ", ".join(_feature(feature) for feature in _list(config, "features"))


def _feature(feature: Mapping[str, Any]) -> str:
    unit = f" in {feature['unit']}" if feature.get("unit") else ""
    optional = " (optional)" if feature.get("optional") else ""
    return f"{feature.get('name')} {feature.get('datatype', 'FP32')}{unit}{optional}"


def labels(config: ModelConfig) -> list[str]:
    """The labels of a classifier's configuration; none for any other."""
    return _list(config, "labels")


def parameter(config: ModelConfig, key: str) -> str:
    """The parameter ``slipway.<key>``, or an empty text. (Protobuf adds to its map what one merely reads.)"""
    return config.parameters[PREFIX + key].string_value if PREFIX + key in config.parameters else ""


def _list(config: ModelConfig, key: str) -> list[Any]:
    return json.loads(parameter(config, key) or "[]")
