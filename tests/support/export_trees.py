"""Boosted models of a few trees, their cards, and rows that lie where trees decide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.layout import ModelDirectory
from slipway_export import export
from slipway_export.runtime import Session
from support.export import card, save_samples

COUNT = 4


def rows(count: int = 300, seed: int = 0, missing: float = 0.1) -> np.ndarray:
    """float32 [count, 4] with some NaN."""
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(count, COUNT)).astype(np.float32)
    made[rng.random(made.shape) < missing] = np.nan
    return made


def values(x: np.ndarray) -> np.ndarray:
    """What a regressor is to learn: above 0, and different for missing numbers."""
    known = np.nan_to_num(x, nan=1.5)
    return np.exp(known[:, 0] / 2) + np.abs(known[:, 1]) + (known[:, 2] > 0.3)


def numbers(x: np.ndarray, classes: int) -> np.ndarray:
    """Classes of equal size, from 0."""
    found = values(x)
    return np.searchsorted(np.quantile(found, np.arange(1, classes) / classes), found)


def trees_card(folder: Path, kind: str, content: bytes, samples: np.ndarray, **changes: Any) -> ModelCard:
    """A regressor of optional features, unless told otherwise."""
    (folder / "model.bin").write_bytes(content)
    table = {
        "name": "trees",
        "task": "regression",
        "source": {
            "kind": kind,
            "path": str(folder / "model.bin"),
            "samples": str(save_samples(folder / "samples.npz", samples)),
        },
        "inputs": [{"name": f"f{at}", "optional": True} for at in range(samples.shape[1])],
        "batching": {"max_batch_size": 16},
    }
    return card(table, **changes)


def classification(count: int) -> dict[str, Any]:
    return {"task": "classification", "output": {"labels": [f"class {at}" for at in range(count)]}}


def graph(folder: Path) -> bytes:
    """The newest published graph."""
    directory = ModelDirectory(folder / "repository", "trees")
    return (directory.version(directory.versions()[-1]) / "model.onnx").read_bytes()


def published(folder: Path, described: ModelCard) -> Session:
    """Through the gate, and as Triton would load it."""
    export(described, repository=folder / "repository")
    return Session(described.name, graph(folder))


def refused(folder: Path, described: ModelCard) -> str:
    with pytest.raises(ExportFailed) as caught:
        export(described, repository=folder / "repository")
    assert not (folder / "repository" / described.name).exists()
    told = str(caught.value)
    assert "\n" not in told
    return told.replace(str(folder) + "/", "").removeprefix(f"cannot export {described.name!r}: ")


def rows_at_cuts(content: bytes, x: np.ndarray) -> np.ndarray:
    """Rows of ``x`` with one number moved onto each bound of the published graph, and to both of its neighbours."""
    (node,) = (node for node in onnx.load_model_from_string(content).graph.node if node.op_type.startswith("Tree"))
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    branches = {
        (feature, np.float32(bound))
        for feature, bound, mode in zip(
            found["nodes_featureids"], found["nodes_values"], found["nodes_modes"], strict=True
        )
        if mode != b"LEAF" and abs(bound) < 3e38
    }
    moved: list[np.ndarray] = []
    for number, (feature, bound) in enumerate(sorted(branches)):
        for at in (bound, np.nextafter(bound, np.float32(-np.inf)), np.nextafter(bound, np.float32(np.inf))):
            row = x[number % len(x)].copy()
            row[feature] = at
            moved.append(row)
    return np.stack(moved)
