"""A model's output tensors <-> predictions a person reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from slipway_core.errors import InferenceFailed
from slipway_core.tensors import Array

LABEL_TENSOR = "label"
PROBABILITIES_TENSOR = "probabilities"
VALUE_TENSOR = "value"


@dataclass(frozen=True)
class Classification:
    """One item's class. ``probabilities`` keeps the card's order of labels."""

    label: str
    probabilities: dict[str, float]

    def top(self, k: int) -> list[tuple[str, float]]:
        """The ``k`` likeliest labels with their probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:k]


@dataclass(frozen=True)
class Regression:
    """One item's value, in the unit of the card's output."""

    value: float


Prediction: TypeAlias = Classification | Regression


def classifications(model: str, labels: Sequence[str], tensors: Mapping[str, Array]) -> list[Classification]:
    """Classifications from ``probabilities [n, classes]`` and, where the model gives one, its own ``label [n]``.

    The model's label wins over the largest probability: an SVM's two can differ.
    """
    probabilities = _output(model, tensors, PROBABILITIES_TENSOR)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(labels):
        raise InferenceFailed(model, f"{list(probabilities.shape)} probabilities do not fit {len(labels)} labels")
    chosen = tensors.get(LABEL_TENSOR)
    indices: list[bytes | int] = (probabilities.argmax(axis=1) if chosen is None else chosen.reshape(-1)).tolist()
    names: list[str] = [index.decode() if isinstance(index, bytes) else labels[index] for index in indices]
    return [
        Classification(name, dict(zip(labels, row, strict=True)))
        for name, row in zip(names, probabilities.astype(np.float64).tolist(), strict=True)
    ]


def regressions(model: str, tensors: Mapping[str, Array]) -> list[Regression]:
    """Regressions from ``value [n]`` or ``value [n, 1]``."""
    return [Regression(value) for value in _output(model, tensors, VALUE_TENSOR).reshape(-1).astype(float).tolist()]


def _output(model: str, tensors: Mapping[str, Array], name: str) -> Array:
    if name not in tensors:
        raise InferenceFailed(model, f"it gave no output {name!r}, only {', '.join(tensors) or 'none'}")
    return tensors[name]
