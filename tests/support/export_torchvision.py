"""A small model of torchvision's, with weights that tell pictures apart, and JPEG files of all shapes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from slipway_core.card import ModelCard
from support.export import card, save_samples

# Of an untrained net, enough: what ImageNet's own would be, a test neither has nor needs.
CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGE = {
    "height": 64,
    "width": 64,
    "resize": "crop",
    "shorter_side": 72,
    "mean": list(MEAN),
    "std": list(STD),
}


def torchvision_models() -> Any:
    """``torchvision.models``, imported as export does it."""
    from slipway_export.sources.torchvision_models import imported

    return imported()


def lively(name: str, classes: int = CLASSES) -> torch.nn.Module:
    """Random weights, fitted to pictures of patches so that these get different answers."""
    torch.manual_seed(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torchvision_models().get_model(name, weights=None, num_classes=classes).train()
    pictures = torch.nn.functional.interpolate(torch.randn(16, 3, 3, 3) * 1.2, 64)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the average of all batches
    with torch.no_grad():
        for _ in range(3):
            module(pictures)
        answers = module.eval()(pictures)
        for last in [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1:]:
            scale = 2 / answers.std(dim=0).mean()
            last.weight *= scale
            last.bias.copy_((last.bias - answers.mean(dim=0)) * scale)
    return module


def torchvision_card(folder: Path, model: str, **changes: Any) -> ModelCard:
    """64 x 64 colour pixels and ten classes; ``source`` brings the weights."""
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    table = {
        "name": "vision",
        "task": "classification",
        "source": {
            "kind": "torch",
            "factory": f"torchvision:{model}",
            "arguments": {"num_classes": CLASSES},
            "samples": str(save_samples(folder / "images.npz", images)),
            "output": "logits",
        },
        "image": IMAGE,
        "output": {"labels": [f"class {at}" for at in range(CLASSES)]},
        "batching": {"max_batch_size": 8},
    }
    return card(table, **changes)


def jpegs(count: int = 12) -> list[bytes]:
    """Pictures of large coloured patches in many sizes, upright and lying."""
    rng, files = np.random.default_rng(1), list[bytes]()
    for at in range(count):
        patches = rng.integers(0, 256, (2 + at % 5, 2 + at % 3, 3), dtype=np.uint8)
        size = (int(rng.integers(80, 400)), int(rng.integers(80, 400)))
        stream = io.BytesIO()
        Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
        files.append(stream.getvalue())
    return files
