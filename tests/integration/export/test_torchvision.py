"""A model of torchvision's in a real Triton: asked with JPEG files over gRPC, it answers as torch does."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from slipway_client import Client
from slipway_core.predictions import Classification
from slipway_core.tensors import Array
from slipway_export import export
from support.export_torchvision import MEAN, STD, jpegs, lively, torchvision_card
from support.triton import RunningTriton


def photos() -> list[bytes]:
    """JPEG files made here, and real photos where there are some."""
    data = os.environ.get("SLIPWAY_TEST_DATA")
    real = sorted((Path(data) / "photos" / "daisy").glob("*.jpg"))[:8] if data else []
    return jpegs() + [path.read_bytes() for path in real]


@torch.inference_mode()
def expected(module: torch.nn.Module, file: bytes) -> Array:
    """torchvision's own preparation, of the same numbers as the card's, and torch's answer."""
    from torchvision.transforms._presets import ImageClassification

    preset = ImageClassification(crop_size=64, resize_size=72, mean=MEAN, std=STD)
    return module(preset(Image.open(io.BytesIO(file)).convert("RGB"))[None]).softmax(1)[0].numpy()


def test_jpegs_get_the_answers_that_torch_gives(triton: RunningTriton, tmp_path: Path) -> None:
    module, files = lively("mobilenet_v3_small"), photos()
    torch.save(module.state_dict(), tmp_path / "weights.pth")
    card = torchvision_card(
        tmp_path, "mobilenet_v3_small", name="vision", source={"path": str(tmp_path / "weights.pth")}
    )
    assert export(card, repository=triton.repository, activate_on=triton.grpc).live
    with Client(triton.grpc) as client:
        try:
            alone = [client.classify("vision", [file]).predictions[0] for file in files[:3]]
            halves = [client.classify("vision", half).predictions for half in (files[:8], files[8:16])]
        finally:
            for name in ("vision", "vision_net"):
                client.unload(name)
    together = [prediction for half in halves for prediction in half]
    for file, answer in zip([*files[:3], *files[:16]], [*alone, *together], strict=True):
        assert isinstance(answer, Classification)
        wanted = expected(module, file)
        assert answer.label == card.output.labels[int(wanted.argmax())]
        # A grey level more or less of a resized pixel is all that the two preparations differ by.
        np.testing.assert_allclose(list(answer.probabilities.values()), wanted, atol=0.02)
    assert len({answer.label for answer in together if isinstance(answer, Classification)}) > 2
