"""Modules that a card's factory may name: good ones, and those with each fault that people meet."""

from __future__ import annotations

import torch
from torch import nn

A_NUMBER = 3


def raises() -> nn.Module:
    raise ValueError("no\nsuch file")


class Linear(nn.Module):
    """The base of the others: 8 x 8 grey pixels in, ten classes out."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.classes = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(x.flatten(1))


class DropsOut(Linear):
    """With a layer that must not drop anything any more."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(self.drop(x.flatten(1)))


class AlwaysDropsOut(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(nn.functional.dropout(x.flatten(1)))


class BatchStatistics(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.normal = nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(self.normal(x).flatten(1))


class BatchOfThree(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(x.reshape(3, 64))


class AtMostFive(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 5:
            return -self.classes(x.flatten(1))
        return self.classes(x.flatten(1))


class OneIsOther(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] == 1:
            return -self.classes(x.flatten(1))
        return self.classes(x.flatten(1))


class Decides(Linear):
    """By the values of the batch, and loops: scripting keeps both. An item's answer does not depend on others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.max() > 0.5):
            x = x.clamp(max=0.5)
        for _ in range(2):
            x = x + 1
        return self.classes(x.flatten(1))


class Bessel(Linear):
    """An operator that ONNX does not have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classes(torch.special.bessel_j0(x.flatten(1)))


class TwoInputs(Linear):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.classes(x.flatten(1) + y)


class TwoOutputs(Linear):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return self.classes(x.flatten(1)), x


class ThroughNumpy(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.classes(x.flatten(1)).detach().numpy())


class WritesAFile(Linear):
    """Scripted: whenever it answers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "exploded")
        return self.classes(x.flatten(1))


class WritesAFileOnLoading(Linear):
    @torch.jit.export
    def __getstate__(self):  # type: ignore[override]
        return (self.training, self.classes.weight)

    @torch.jit.export
    def __setstate__(self, state: tuple[bool, torch.Tensor]):  # type: ignore[override]
        torch.save(state[1], "exploded")
        self.training = state[0]
