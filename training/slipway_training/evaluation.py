"""How well a classifier did on rows it has not seen, and with which libraries."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import train_test_split

from slipway_core.summary import ClassMetrics, Metrics
from slipway_core.tensors import Array


def split_off(rows: Array, targets: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Row numbers in two parts, the second with ``share`` of them and of every class. ``targets`` is of all rows."""
    parts: Any = train_test_split(rows, test_size=share, stratify=targets[rows], random_state=seed)
    return parts[0], parts[1]


def metrics_of(labels: Sequence[str], targets: Array, predicted: Array) -> Metrics:
    """Metrics of predicted class indices; the overall precision, recall and F1 are the classes' plain means.

    A class that was never predicted has precision 0.
    """
    classes = range(len(labels))
    # The type stubs know zero_division as a string only.
    options: dict[str, Any] = {"labels": classes, "zero_division": 0}
    each: Any = precision_recall_fscore_support(targets, predicted, **options)
    precision, recall, f1, support = (part.tolist() for part in each)
    return Metrics(
        accuracy=float(accuracy_score(targets, predicted)),
        precision=sum(precision) / len(labels),
        recall=sum(recall) / len(labels),
        f1=sum(f1) / len(labels),
        per_class={
            label: ClassMetrics(precision=precision[i], recall=recall[i], f1=f1[i], support=support[i])
            for i, label in enumerate(labels)
        },
        confusion=tuple(tuple(row) for row in confusion_matrix(targets, predicted, labels=classes).tolist()),
    )


def accuracy_interval(accuracy: float, rows: int) -> tuple[float, float]:
    """Wilson's 95 % confidence interval of an accuracy that was measured on so many rows."""
    z = 1.959964
    centre = (accuracy + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(accuracy * (1 - accuracy) / rows + z * z / (4 * rows * rows))
    return max(0.0, centre - half), min(1.0, centre + half)


def library_versions(*packages: str) -> dict[str, str]:
    """The installed version of each package, and of Python."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
