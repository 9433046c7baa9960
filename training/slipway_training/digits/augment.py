"""Small changes that leave a digit the same digit, drawn anew for every batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed; every amount is drawn evenly up to its bound.

    ``shift`` is a share of half the width, ``smallest`` and ``largest`` are magnifications (people leave margins
    that the training images do not have), ``gain`` is the change of a stroke's brightness and ``noise`` the
    standard deviation of what is added to a pixel, both as shares of the range from black to white.
    """

    rotation_deg: float = 12.0
    shift: float = 0.2
    smallest: float = 0.7
    largest: float = 1.15
    gain: float = 0.25
    noise: float = 0.025


def augmented(images: Tensor, how: Augmentation, generator: torch.Generator, black: float, white: float) -> Tensor:
    """Changed copies of normalised images ``[n, 1, h, w]``; ``black`` and ``white`` are the values of 0 and 255."""
    n = len(images)

    def evenly(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    angle = evenly(-1, 1) * math.radians(how.rotation_deg)
    size = evenly(how.smallest, how.largest)
    across, down = evenly(-how.shift, how.shift), evenly(-how.shift, how.shift)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    rows = [torch.stack([cos, -sin, across], dim=1), torch.stack([sin, cos, down], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    # What comes in from outside the image must be black, and grid_sample fills with zeros.
    strokes = F.grid_sample((images - black) / (white - black), grid, align_corners=False)
    strokes = strokes * evenly(1 - how.gain, 1 + how.gain).view(-1, 1, 1, 1)
    strokes = strokes + how.noise * torch.randn(strokes.shape, generator=generator)
    return strokes.clamp(0, 1) * (white - black) + black
