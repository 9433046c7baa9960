"""How an image becomes a tensor: the card's settings, and the reference for what the graph must compute."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from slipway_core.tensors import Array

# The input of an image model (encoded files, BYTES) and of its net (pixels, UINT8).
IMAGE_TENSOR = "image"


class ImageSpec(BaseModel):
    """The card's image preprocessing.

    Decoding, orientation, colour, resize and crop end in a uint8 array ``[batch, height, width, channels]``.
    The net's graph computes ``(pixel / 255 - mean) / std`` per channel from it and hands its model
    ``[batch, channels, height, width]`` in FP32.

    ``resize = "stretch"`` resizes to exactly height x width. ``resize = "crop"`` resizes the shorter side to
    ``shorter_side`` pixels, keeping the aspect ratio, and cuts the centre.
    ``background`` lies under transparent pixels (0 to 255 per channel).
    ``max_pixels`` bounds one image, ``max_request_pixels`` all images of a request that has several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    channels: Literal[1, 3] = 3
    resize: Literal["stretch", "crop"] = "stretch"
    shorter_side: int | None = Field(default=None, ge=1, le=16384)
    interpolation: Literal["nearest", "box", "bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    background: int = Field(default=0, ge=0, le=255)
    max_pixels: int = Field(default=50_000_000, ge=1, description="larger images are refused before decoding")
    max_request_pixels: int = Field(
        default=100_000_000, ge=1, description="several images that have more together are refused before decoding"
    )

    @model_validator(mode="after")
    def _holds_together(self) -> ImageSpec:
        for key in ("mean", "std"):
            if len(getattr(self, key)) not in (1, self.channels):
                raise ValueError(f"{key} has one number, or one per channel ({self.channels})")
        if any(std <= 0 for std in self.std):
            raise ValueError("std must be positive")
        if (self.resize == "crop") != (self.shorter_side is not None):
            raise ValueError("shorter_side goes with resize = 'crop', and only with it")
        if self.shorter_side is not None and self.shorter_side < max(self.height, self.width):
            raise ValueError("shorter_side must be at least height and width")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels: one item of the net's uint8 input."""
        return self.height, self.width, self.channels


def normalised(images: Array, spec: ImageSpec) -> Array:
    """``(pixel / 255 - mean) / std``: uint8 ``[n, h, w, c]`` in, FP32 ``[n, c, h, w]`` out.

    The reference for the preprocessing inside a net's graph; training uses it too, so both see the same numbers.
    """
    scaled = images.astype(np.float32) / np.float32(255)
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(((scaled - mean) / std).transpose(0, 3, 1, 2))
