"""The rows that iris is trained on: scikit-learn's, or those of a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_iris

from slipway_core.summary import hash_arrays, hash_file
from slipway_core.tensors import Array
from slipway_training.iris.csv_table import CsvTable, plain_label
from slipway_training.recipes import Job

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
# A fifth is held out and the rest cut into five folds: with ten rows each part still sees every class.
FEWEST_PER_CLASS = 10
LEAST_PRESENT = 0.5


@dataclass(frozen=True)
class Measurements:
    """``inputs`` float64 ``[n, 4]`` in the card's order, NaN where missing; ``targets`` index the card's labels.

    Every value is one that FP32 can hold, because that is what the served model will be given.
    """

    inputs: Array
    targets: Array
    source: str
    sha256: str
    notes: tuple[str, ...] = ()


def load(job: Job) -> Measurements:
    """The job's rows, checked: known labels, finite numbers, enough of every class and feature.

    Raises :class:`TrainingFailed`, which names the line and column of a CSV where there is one.
    """
    rows = _own(job) if job.data is None else _from_csv(job)
    _check_classes(job, rows)
    _check_features(job, rows)
    return rows


def _own(job: Job) -> Measurements:
    bunch: Any = load_iris()
    columns = [FEATURES.index(feature.name) for feature in job.card.inputs]
    labels = [plain_label(label) for label in job.card.output.labels]
    index = np.array([labels.index(name) if name in labels else -1 for name in bunch.target_names.tolist()])
    inputs, targets = _as_fp32(bunch.data[:, columns]), index[bunch.target]
    if (index < 0).any():
        names = ", ".join(bunch.target_names.tolist())
        raise job.refused(f"scikit-learn's rows are labelled {names}; the card has {', '.join(job.card.output.labels)}")
    return Measurements(inputs, targets, "scikit-learn load_iris", hash_arrays(inputs, targets))


def _from_csv(job: Job) -> Measurements:
    assert job.data is not None
    table = CsvTable.read(job.data, job.card, job.recipe)
    notes = [f"column {name!r} is not used" for name in table.unused]
    if table.unlabelled:
        rows = "1 row" if table.unlabelled == 1 else f"{table.unlabelled} rows"
        notes.append(f"{rows} without a label left out")
    missing = int(np.isnan(table.inputs).sum())
    if missing:
        cells = "1 missing value is" if missing == 1 else f"{missing} missing values are"
        notes.append(f"{cells} replaced by the feature's median over the training rows")
    try:
        sha256 = hash_file(job.data)
    except OSError as e:
        raise job.refused(f"{job.data} cannot be read ({e.strerror})") from None
    return Measurements(_as_fp32(table.inputs), table.targets, str(job.data), sha256, tuple(notes))


def _as_fp32(inputs: Array) -> Array:
    return inputs.astype(np.float32).astype(np.float64)


def _check_classes(job: Job, rows: Measurements) -> None:
    labels = job.card.output.labels
    counts = np.bincount(rows.targets, minlength=len(labels)).tolist()
    for label, count in zip(labels, counts, strict=True):
        if count < FEWEST_PER_CLASS:
            found = "1 row" if count == 1 else f"{count} rows"
            raise job.refused(
                f"{rows.source} has {found} of {label!r}; at least {FEWEST_PER_CLASS} of each of "
                f"{', '.join(labels)} are needed"
            )


def _check_features(job: Job, rows: Measurements) -> None:
    missing = np.isnan(rows.inputs).sum(axis=0).tolist()
    for feature, count in zip(job.card.inputs, missing, strict=True):
        if count > len(rows.inputs) * (1 - LEAST_PRESENT):
            raise job.refused(
                f"{rows.source} lacks {feature.name} in {count} of {len(rows.inputs)} rows; "
                "at least half of them must have it"
            )
