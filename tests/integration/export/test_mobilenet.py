"""A model that nobody here made, on real photos: converted, compared, and answering right.

The one stated skip: these run where SLIPWAY_TEST_DATA names the folder of real data.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from slipway_core.card import ModelCard
from slipway_export import Published, export
from slipway_export.image_model.decoding import Preparation, prepared
from slipway_export.runtime import Session
from support.export import card, save_samples

DATA = os.environ.get("SLIPWAY_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="SLIPWAY_TEST_DATA names no folder of real data")

IMAGE = {
    "height": 224,
    "width": 224,
    "resize": "crop",
    "shorter_side": 256,
    "interpolation": "bilinear",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


@dataclass
class Mobilenet:
    card: ModelCard
    published: Published
    photos: dict[str, np.ndarray]
    session: Session

    @property
    def first_labels(self) -> dict[str, str]:
        found = self.session.run({"image": np.stack(list(self.photos.values()))})["label"][:, 0]
        return {name: self.card.output.labels[at] for name, at in zip(self.photos, found, strict=True)}


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Mobilenet:
    folder, data = tmp_path_factory.mktemp("mobilenet"), Path(str(DATA))
    names: list[str] = []
    for name in (data / "models" / "imagenet_classes.txt").read_text().splitlines():
        names.append(name if name not in names else f"{name} ({len(names)})")  # two "crane", two "maillot"
    (folder / "labels.txt").write_text("\n".join(names))
    described = card(
        {
            "name": "mobilenet",
            "task": "classification",
            "source": {
                "kind": "onnx",
                "path": str(data / "models" / "mobilenetv2-12-qdq" / "mobilenetv2-12-qdq.onnx"),
                "samples": str(folder / "samples.npz"),
                "output": "logits",
            },
            "image": IMAGE,
            "output": {"labels": names},
            "batching": {"max_batch_size": 8},
        }
    )
    assert described.image is not None
    how = Preparation.from_json(described.image.model_dump_json())
    photos = {path.name: prepared(path.read_bytes(), how) for path in sorted((data / "photos" / "daisy").glob("*.jpg"))}
    save_samples(folder / "samples.npz", np.stack(list(photos.values())))
    published = export(described, repository=folder / "repository")
    graph = folder / "repository" / "mobilenet_net" / "1" / "model.onnx"
    return Mobilenet(described, published, photos, Session("mobilenet", graph.read_bytes()))


def test_the_published_graph_answers_like_the_original_on_real_photos(mobilenet: Mobilenet) -> None:
    parity = mobilenet.published.parity
    assert (parity.samples, parity.batches) == (30, (1, 2, 7, 8))
    probabilities = next(output for output in parity.outputs if output.output == "probabilities")
    assert probabilities.difference <= 1e-5


def test_daisies_are_daisies(mobilenet: Mobilenet) -> None:
    assert sum(label == "daisy" for label in mobilenet.first_labels.values()) >= 20


def test_photos_decoded_here_are_recognised_as_in_the_reference(mobilenet: Mobilenet) -> None:
    with (Path(str(DATA)) / "photos" / "reference_top3_mobilenetv2-12-qdq.csv").open() as stream:
        expected = {row["file"].removeprefix("daisy/"): row["top1"] for row in csv.DictReader(stream)}
    found = mobilenet.first_labels
    assert sum(expected[name] == label for name, label in found.items()) >= 26, found
