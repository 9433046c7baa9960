"""Small torch programs and their cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from slipway_core.card import ModelCard
from support.export import PIXELS, card, pixel_images, save_samples


class SmallNet(torch.nn.Module):
    """A convolution and a linear layer; another seed, another net."""

    def __init__(self, seed: int = 0, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.features = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.normal = torch.nn.BatchNorm2d(4)
        self.classes = torch.nn.Linear(4 * 16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.max_pool2d(torch.relu(self.normal(self.features(x))), 2)
        return self.classes(x.flatten(1))


def save_program(path: Path, module: torch.nn.Module, example: torch.Tensor, batch: Any = None) -> Path:
    """Export with a free batch axis; ``batch`` is another torch.export.Dim, or an int for a fixed one."""
    shapes = None if isinstance(batch, int) else ({0: batch or torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=shapes), path)
    return path


def torch_card(folder: Path, program: Path | None = None, seed: int = 0, **changes: Any) -> ModelCard:
    """An untrained net for 8 x 8 grey pixels, unless another program is given."""
    if program is None:
        program = save_program(folder / f"net{seed}.pt2", SmallNet(seed), torch.zeros(2, 1, 8, 8))
    table = {
        "name": "digits",
        "task": "classification",
        "source": {
            "kind": "torch",
            "path": str(program),
            "samples": str(save_samples(folder / "samples.npz", pixel_images())),
            "output": "logits",
        },
        "image": PIXELS,
        "output": {"labels": list("0123456789")},
        "batching": {"max_batch_size": 16},
    }
    return card(table, **changes)
