"""The machine-readable summary of a training run, which export copies into the version's manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from slipway_core.baseline import Baseline
from slipway_core.tensors import Array


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassMetrics(_Frozen):
    """One class on the held-out set; ``support`` is its number of rows."""

    precision: float
    recall: float
    f1: float
    support: int


class Metrics(_Frozen):
    """On the held-out set. ``confusion[i][j]`` counts rows of class i that were predicted as j."""

    accuracy: float
    precision: float
    recall: float
    f1: float
    per_class: dict[str, ClassMetrics]
    confusion: tuple[tuple[int, ...], ...]


class TrainingSummary(_Frozen):
    """What a recipe did, so that it can be repeated and audited. ``parameters`` holds plain JSON values."""

    recipe: str
    model: str
    seed: int
    data: str
    data_sha256: str
    rows_train: int
    rows_test: int
    labels: tuple[str, ...]
    parameters: dict[str, Any]
    metrics: Metrics
    candidates: tuple[dict[str, Any], ...] = ()
    libraries: dict[str, str]
    baseline: Baseline
    seconds: float

    def write(self, path: Path) -> None:
        """Write as JSON, by rename, so that a reader sees a whole file or none."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> TrainingSummary:
        """Read a summary. Raises OSError, or ValueError when the file is no summary."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))


def hash_arrays(*arrays: Array) -> str:
    """SHA-256 over dtype, shape and content, independent of memory layout."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
