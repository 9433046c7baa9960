"""The convolutional net for digits."""

from __future__ import annotations

from torch import Tensor, nn

WIDTH = 32
DROPOUT = 0.3


class DigitNet(nn.Module):
    """Four convolutions and two dense layers: FP32 ``[batch, 1, 8, 8]`` in, logits ``[batch, classes]`` out."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(1, WIDTH),
            *_convolution(WIDTH, WIDTH),
            nn.MaxPool2d(2),
            *_convolution(WIDTH, 2 * WIDTH),
            *_convolution(2 * WIDTH, 2 * WIDTH),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
            nn.Linear(2 * WIDTH * 2 * 2, 128),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(128, classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


def parameter_count(net: nn.Module) -> int:
    """The number of trained numbers."""
    return sum(parameter.numel() for parameter in net.parameters())


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    # Batch normalisation brings its own offset, so the convolution needs none.
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU()
