"""Baseline statistics of a training set and of a model's predictions: what drift is measured against later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from slipway_core.tensors import Array

BINS = 20


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NumericBaseline(_Frozen):
    """One numeric feature over the training rows, in the feature's unit.

    ``edges`` has one more entry than ``counts``; missing values are in ``missing`` and in nothing else.
    ``std`` is the population's (ddof 0).
    """

    name: str
    count: int
    missing: int
    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: dict[str, float]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


class CategoryBaseline(_Frozen):
    """How often each category (or predicted label) occurred."""

    name: str
    count: int
    missing: int
    counts: dict[str, int]


class Baseline(_Frozen):
    """The statistics of every input feature and of the predictions on the held-out set."""

    features: tuple[NumericBaseline | CategoryBaseline, ...]
    predictions: NumericBaseline | CategoryBaseline


def numeric_baseline(name: str, values: Array, bins: int = BINS) -> NumericBaseline:
    """Statistics of a 1-D numeric array; NaN counts as missing. Raises ValueError when nothing is present."""
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    present = flat[~np.isnan(flat)]
    if present.size == 0:
        raise ValueError(f"feature {name!r} has no value at all")
    counts, edges = np.histogram(present, bins=bins)
    quantiles = np.quantile(present, [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    return NumericBaseline(
        name=name,
        count=int(present.size),
        missing=int(flat.size - present.size),
        mean=float(present.mean()),
        std=float(present.std()),
        minimum=float(present.min()),
        maximum=float(present.max()),
        quantiles=dict(zip(("p01", "p05", "p25", "p50", "p75", "p95", "p99"), quantiles.tolist(), strict=True)),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def category_baseline(name: str, values: Sequence[str | None]) -> CategoryBaseline:
    """Counts per category, sorted by name; None counts as missing."""
    present = [value for value in values if value is not None]
    counts = {value: present.count(value) for value in sorted(set(present))}
    return CategoryBaseline(name=name, count=len(present), missing=len(values) - len(present), counts=counts)


def image_statistics(images: Array) -> dict[str, Array]:
    """Three numbers per image of a uint8 array ``[n, h, w, c]``, each from 0 to 1 and float64 ``[n]``.

    ``brightness`` is the mean, ``contrast`` the standard deviation (0.5 at most) and ``ink`` the share of values
    above half. Single pixels say little about drift; these move when a camera, a scanner or a crop changes.
    """
    scaled = images.reshape(len(images), -1).astype(np.float64) / 255
    return {
        "brightness": scaled.mean(axis=1),
        "contrast": scaled.std(axis=1),
        "ink": (scaled > 0.5).mean(axis=1),
    }
