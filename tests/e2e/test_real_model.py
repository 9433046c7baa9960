"""A model nobody here made: MobileNetV2 from the ONNX Model Zoo, served, on real photos.

The one stated skip: these run where SLIPWAY_TEST_DATA names the folder of real data.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stack import Stack, running_stack

DATA = os.environ.get("SLIPWAY_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="SLIPWAY_TEST_DATA names no folder of real data")

CARD = """
name = "mobilenet"
task = "classification"
[source]
kind = "onnx"
path = "{data}/models/mobilenetv2-12-qdq/mobilenetv2-12-qdq.onnx"
samples = "{data}/photos/tulips"
output = "logits"
[image]
height = 224
width = 224
channels = 3
resize = "crop"
shorter_side = 256
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[output]
labels_file = "classes.txt"
[batching]
max_batch_size = 8
[instances]
intra_op_threads = 0
"""


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("mobilenet")
    data = Path(str(DATA))
    (folder / "cards").mkdir()
    names = (data / "models" / "imagenet_classes.txt").read_text().splitlines()
    seen: set[str] = set()
    unique = []
    for index, name in enumerate(names):  # ImageNet has two "crane" and two "maillot"
        unique.append(name if name not in seen else f"{name} ({index})")
        seen.add(name)
    (folder / "cards" / "classes.txt").write_text("\n".join(unique))
    (folder / "cards" / "mobilenet.toml").write_text(CARD.format(data=data))
    with running_stack(folder) as running:
        yield running


def test_daisies_are_found_in_real_photos_through_the_frontend(mobilenet: Stack) -> None:
    data = Path(str(DATA))
    photos = sorted((data / "photos" / "daisy").glob("*.jpg"))
    with (data / "photos" / "reference_top3_mobilenetv2-12-qdq.csv").open() as stream:
        reference = list(csv.DictReader(stream))
    first: dict[str, str] = {}
    for at in range(0, len(photos), 5):
        body, content_type = _multipart(photos[at : at + 5])
        status, answer = mobilenet.http("/v1/models/mobilenet/classify", body, content_type)
        assert status == 200, answer
        first |= {prediction["file"]: prediction["label"] for prediction in answer["predictions"]}
    assert sum(label == "daisy" for label in first.values()) >= 20
    expected = {row["file"].removeprefix("daisy/"): row["top1"] for row in reference}
    agreeing = sum(expected[name] == label for name, label in first.items())
    assert agreeing >= 26, json.dumps(first)


def _multipart(files: list[Path]) -> tuple[bytes, str]:
    boundary = "----slipway-test"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + file.read_bytes()
        + b"\r\n"
        for file in files
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
