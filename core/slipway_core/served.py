"""What the frontend knows about a model, as it travels through Triton's own ModelConfig ``parameters``.

Export writes these parameters into ``config.pbtxt``; client and frontend read them back over the API, so that
they share no file system with Triton. Keys are prefixed ``slipway.``; lists are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from slipway_core.card import Feature, ModelCard, Task
from slipway_core.errors import InferenceFailed
from slipway_core.images import ImageSpec
from slipway_core.predictions import Prediction, classifications, regressions
from slipway_core.tensors import Array

PREFIX = "slipway."
Role = Literal["model", "net"]


@dataclass(frozen=True)
class ServedModel:
    """A model as Triton serves it. ``role`` is ``net`` for the inner half of an image model."""

    name: str
    max_batch_size: int
    task: Task | None = None
    role: Role = "model"
    description: str = ""
    features: tuple[Feature, ...] = ()
    image: ImageSpec | None = None
    labels: tuple[str, ...] = ()
    unit: str = ""
    versions: tuple[str, ...] = field(default=())

    @property
    def has_card(self) -> bool:
        """Whether slipway published it; a foreign model has no card and answers raw inference only."""
        return self.task is not None

    def predictions(self, tensors: Mapping[str, Array]) -> Sequence[Prediction]:
        """The model's output tensors as predictions, one per item, in order."""
        if self.task in ("regression", "ranking"):
            return regressions(self.name, tensors)
        return classifications(self.name, self.labels, tensors)


def parameters_of(card: ModelCard, role: Role = "model") -> dict[str, str]:
    """The ``slipway.*`` parameters of a card, for ``config.pbtxt``. Byte-stable."""
    parameters = {"task": card.task, "role": role}
    if card.description:
        parameters["description"] = card.description
    if card.output.labels:
        parameters["labels"] = json.dumps(card.output.labels, ensure_ascii=False)
    if card.output.unit:
        parameters["unit"] = card.output.unit
    if card.inputs:
        features = [feature.model_dump(exclude_defaults=True) for feature in card.inputs]
        parameters["features"] = json.dumps(features, ensure_ascii=False)
    if card.image is not None:
        parameters["image"] = card.image.model_dump_json()
    return {PREFIX + key: parameters[key] for key in sorted(parameters)}


def served_model(
    name: str, max_batch_size: int, parameters: Mapping[str, str], versions: Sequence[str] = ()
) -> ServedModel:
    """Read a card back from a ModelConfig's parameters; unknown keys are ignored.

    Raises :class:`InferenceFailed` when ``slipway.*`` parameters are there and cannot be read.
    """
    own = {key.removeprefix(PREFIX): value for key, value in parameters.items() if key.startswith(PREFIX)}
    try:
        return ServedModel(
            name=name,
            max_batch_size=max_batch_size,
            task=_task(own.get("task")),
            role="net" if own.get("role") == "net" else "model",
            description=own.get("description", ""),
            features=tuple(Feature.model_validate(item) for item in json.loads(own.get("features") or "[]")),
            image=ImageSpec.model_validate_json(own["image"]) if "image" in own else None,
            labels=tuple(json.loads(own.get("labels") or "[]")),
            unit=own.get("unit", ""),
            versions=tuple(versions),
        )
    except ValueError as e:
        raise InferenceFailed(name, f"its slipway.* parameters in config.pbtxt cannot be read: {e}") from None


def _task(value: str | None) -> Task | None:
    match value:
        case None | "classification" | "regression" | "ranking":
            return value
        case _:
            raise ValueError(f"unknown task {value!r}")
