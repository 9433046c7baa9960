"""Small trained models and their cards, made in a moment, for tests of the export room and of what serves them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skops.io
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from slipway_core.card import ModelCard

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")
PIXELS = {"height": 8, "width": 8, "channels": 1, "interpolation": "box", "mean": [0.5], "std": [0.5]}


def card(table: Mapping[str, Any], **changes: Any) -> ModelCard:
    """A card from a table. ``changes`` replace keys; those of ``source`` and ``batching`` are merged."""
    merged = {**table, **changes}
    for section in ("source", "batching"):
        if section in changes:
            merged[section] = {**table.get(section, {}), **changes[section]}
    return ModelCard.from_mapping(merged)


def save_samples(path: Path, inputs: np.ndarray, targets: np.ndarray | None = None) -> Path:
    np.savez(path, inputs=inputs, targets=np.zeros(len(inputs), np.int64) if targets is None else targets)
    return path


def iris_pipeline(*steps: Any) -> Pipeline:
    """Fitted on all of iris; by default a scaler and a logistic regression."""
    x, y = load_iris(return_X_y=True)
    chosen = steps or (StandardScaler(), LogisticRegression(max_iter=500))
    return Pipeline([(f"step{at}", step) for at, step in enumerate(chosen)]).fit(x, y)


def iris_card(folder: Path, estimator: Any = None, **changes: Any) -> ModelCard:
    """Saves the estimator and all of iris as samples in ``folder`` and describes them."""
    x, y = load_iris(return_X_y=True)
    skops.io.dump(iris_pipeline() if estimator is None else estimator, folder / "model.skops")
    table = {
        "name": "iris",
        "task": "classification",
        "source": {
            "kind": "sklearn",
            "path": str(folder / "model.skops"),
            "samples": str(save_samples(folder / "samples.npz", x.astype(np.float32), y)),
        },
        "inputs": [{"name": name, "unit": "cm"} for name in FEATURES],
        "output": {"labels": SPECIES},
        "batching": {"max_batch_size": 16},
    }
    return card(table, **changes)


def pixel_images(count: int = 24, seed: int = 0) -> np.ndarray:
    """uint8 [count, 8, 8, 1]: noise, which is all an untrained net deserves."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def linear_model(weights: np.ndarray, *, batch: str | int = "n", opset: int = 17) -> onnx.ModelProto:
    """``y = x @ weights`` as ONNX: input ``x [batch, features]``, output ``y [batch, classes]``."""
    features, classes = weights.shape
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def onnx_card(folder: Path, model: onnx.ModelProto | bytes | None = None, **changes: Any) -> ModelCard:
    """A linear model of two features and three classes, unless another one is given."""
    rng = np.random.default_rng(1)
    model = linear_model(rng.normal(size=(2, 3))) if model is None else model
    (folder / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    samples = rng.normal(size=(12, 2)).astype(np.float32)
    table = {
        "name": "linear",
        "task": "classification",
        "source": {
            "kind": "onnx",
            "path": str(folder / "model.onnx"),
            "samples": str(save_samples(folder / "samples.npz", samples)),
            "output": "logits",
        },
        "inputs": [{"name": "a"}, {"name": "b"}],
        "output": {"labels": ["x", "y", "z"]},
        "batching": {"max_batch_size": 8},
    }
    return card(table, **changes)


def pixels_card(folder: Path, seed: int = 0, **changes: Any) -> ModelCard:
    """An image model of 8 x 8 grey pixels, as quickly exported as a tabular one; another seed, other answers."""
    weights = np.random.default_rng(seed).normal(size=(64, 10)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "pixels",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(weights, "w")],
    )
    path = folder / f"pixels{seed}.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    table = {
        "name": "pixels",
        "task": "classification",
        "source": {
            "kind": "onnx",
            "path": str(path),
            "samples": str(save_samples(folder / "samples.npz", pixel_images())),
            "output": "logits",
        },
        "image": PIXELS,
        "output": {"labels": list("0123456789")},
        "batching": {"max_batch_size": 16},
    }
    return card(table, **changes)
