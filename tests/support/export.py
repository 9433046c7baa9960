"""Small trained models and their cards, made in seconds, for tests of the export room and of what serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skops.io
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from slipway_core.card import ModelCard
from slipway_core.images import ImageSpec, normalised

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES = ("setosa", "versicolor", "virginica")
DIGITS = tuple("0123456789")
DIGIT_IMAGE: dict[str, Any] = {
    "height": 8,
    "width": 8,
    "channels": 1,
    "interpolation": "box",
    "mean": [0.5],
    "std": [0.5],
}


def card(table: Mapping[str, Any], **changes: Any) -> ModelCard:
    """A card from a table; ``changes`` replace whole sections."""
    return ModelCard.from_mapping({**table, **changes})


def save_samples(path: Path, inputs: np.ndarray, targets: np.ndarray | None = None) -> Path:
    np.savez(path, inputs=inputs, targets=np.zeros(len(inputs), np.int64) if targets is None else targets)
    return path


def iris_pipeline(*steps: Any) -> Pipeline:
    """Fitted on all of iris; by default a scaler and a logistic regression."""
    x, y = load_iris(return_X_y=True)
    chosen = steps or (StandardScaler(), LogisticRegression(max_iter=500))
    return Pipeline([(f"step{at}", step) for at, step in enumerate(chosen)]).fit(x, y)


def iris_card(folder: Path, estimator: Any = None, **changes: Any) -> ModelCard:
    """Saves the estimator and the samples in ``folder`` and describes them."""
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


class SmallNet(torch.nn.Module):
    """A convolution and a linear layer; another seed, another net."""

    def __init__(self, classes: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.normal = torch.nn.BatchNorm2d(4)
        self.classes = torch.nn.Linear(4 * 16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(torch.relu(self.normal(self.features(x))), 2)
        return self.classes(x.flatten(1))


def save_program(path: Path, module: torch.nn.Module, example: torch.Tensor, *, dynamic: bool = True) -> Path:
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=shapes), path)
    return path


def digit_images(count: int = 24, seed: int = 0) -> np.ndarray:
    """uint8 [count, 8, 8, 1]: noise, which is all an untrained net deserves."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def digits_card(folder: Path, seed: int = 0, **changes: Any) -> ModelCard:
    """An untrained net for 8 x 8 images; another seed gives other answers."""
    path = save_program(folder / f"model{seed}.pt2", SmallNet(10, seed), torch.zeros(2, 1, 8, 8))
    table = {
        "name": "digits",
        "task": "classification",
        "source": {
            "kind": "torch",
            "path": str(path),
            "samples": str(save_samples(folder / "samples.npz", digit_images())),
            "output": "logits",
        },
        "image": DIGIT_IMAGE,
        "output": {"labels": DIGITS},
        "batching": {"max_batch_size": 16},
    }
    return card(table, **changes)


def linear_model(
    weights: np.ndarray, *, batch: str | int = "n", softmax: bool = False, name: str = "x"
) -> onnx.ModelProto:
    """``y = x @ weights`` as ONNX, input ``name [batch, features]``, output ``y [batch, classes]``."""
    features, classes = weights.shape
    nodes = [helper.make_node("MatMul", [name, "w"], ["product" if softmax else "y"])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["product"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnx_card(
    folder: Path, model: onnx.ModelProto | bytes, inputs: Sequence[str] = ("a", "b"), **changes: Any
) -> ModelCard:
    """Two features and three classes unless said otherwise."""
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    samples = np.random.default_rng(1).normal(size=(12, len(inputs))).astype(np.float32)
    table = {
        "name": "linear",
        "task": "classification",
        "source": {
            "kind": "onnx",
            "path": str(folder / "model.onnx"),
            "samples": str(save_samples(folder / "samples.npz", samples)),
            "output": "logits",
        },
        "inputs": [{"name": name} for name in inputs],
        "output": {"labels": ["x", "y", "z"]},
        "batching": {"max_batch_size": 8},
    }
    return card(table, **changes)


def prepared_by_numpy(images: np.ndarray, **image: Any) -> np.ndarray:
    """What the source model of an image card is fed."""
    return normalised(images, ImageSpec.model_validate({**DIGIT_IMAGE, **image}))
