"""From the bytes of an image file to the uint8 array that a net takes.

This file is copied into every published version of an image model and runs inside Triton: it imports numpy and
Pillow alone. Nothing is decoded before the header has shown an allowed format and an allowed size.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

# The formats a photo or a scan comes in, each decoded by Pillow's own code or a common library. Formats that start
# an interpreter (EPS, PDF), fetch other files or that nobody sends stay out.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
_READABLE = "JPEG, PNG, BMP, GIF, TIFF or WebP"
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# Pillow's own limit raises before the header's numbers can be read, and is one for all models. ``opened`` has the
# model's limit instead, and checks it before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

Pixels = npt.NDArray[np.uint8]


class ImageRefused(Exception):
    """Bytes that are no image, or an image that is not taken; the text is one clause for the sender."""


@dataclass(frozen=True)
class Preparation:
    """What ``image.json`` says: the card's ``[image]`` without the numbers that live in the net's graph."""

    height: int
    width: int
    channels: int
    resize: str
    shorter_side: int | None
    interpolation: str
    background: int
    max_pixels: int
    max_request_pixels: int

    @classmethod
    def from_json(cls, text: str) -> Preparation:
        """Read ``image.json``; keys of later slipway versions are ignored."""
        table: dict[str, Any] = json.loads(text)
        return cls(**{field.name: table[field.name] for field in fields(cls)})


def prepared(data: bytes, how: Preparation) -> Pixels:
    """Both halves in one: what :func:`decoded` makes of what :func:`opened` gives."""
    return decoded(opened(data, how), how)


def opened(data: bytes, how: Preparation) -> Image.Image:
    """The image by its header, no pixel of it decoded. Raises :class:`ImageRefused`."""
    if not data:
        raise ImageRefused("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES):
            raise ImageRefused("the file is cut off or damaged") from None
        raise ImageRefused(f"not an image slipway can read ({_READABLE})") from None
    except Exception as e:  # a broken header can raise anything in a format's reader
        raise ImageRefused(_damage(e)) from None
    pixels = image.width * image.height
    if pixels > how.max_pixels:
        image.close()
        raise ImageRefused(f"{pixels:,} pixels are more than the {how.max_pixels:,} allowed")
    return image


def pixels_of(images: Sequence[Image.Image], how: Preparation) -> int:
    """What a request's images take to decode. Raises :class:`ImageRefused` where several take more than is allowed."""
    pixels = sum(image.width * image.height for image in images)
    if len(images) > 1 and pixels > how.max_request_pixels:
        raise ImageRefused(
            f"the {len(images)} images have {pixels:,} pixels together, more than the {how.max_request_pixels:,} "
            "allowed in one request; send fewer at a time"
        )
    return pixels


def decoded(image: Image.Image, how: Preparation) -> Pixels:
    """Decode, turn upright, convert colours, resize and crop: uint8 ``[height, width, channels]``; closes the image.

    Of an animation the first frame counts; transparent pixels lie over ``background``; 16-bit grey is scaled to
    8 bits. Raises :class:`ImageRefused`.
    """
    with closing(image):  # gives back the pixels too, where a ``with`` of the image itself keeps them
        _load(image)
        ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies all images, those that stand upright too
        pixels = np.asarray(_sized(_coloured(image, how), how), dtype=np.uint8)
    return pixels.reshape(how.height, how.width, how.channels)


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as e:  # as above: the readers raise OSError, SyntaxError, EOFError, struct.error, ...
        raise ImageRefused(_damage(e)) from None


def _damage(error: Exception) -> str:
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return "the file is cut off"
    return "the file is damaged"


def _coloured(image: Image.Image, how: Preparation) -> Image.Image:
    """Grey (one channel) or RGB, 8 bits, opaque."""
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    elif image.mode in ("I", "F"):
        raise ImageRefused("its pixels have 32 bits; send 8 or 16 bits per channel")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        under = Image.new("RGBA", seen.size, (how.background,) * 3 + (255,))
        image = Image.alpha_composite(under, seen)
    try:
        return image.convert("L" if how.channels == 1 else "RGB")
    except ValueError:
        raise ImageRefused(f"its colour mode {image.mode} is not supported") from None


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips: everything above 255 of 65,535 would become white.
    wide = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))


def _sized(image: Image.Image, how: Preparation) -> Image.Image:
    target = (how.width, how.height)
    resampling = _RESAMPLING[how.interpolation]
    if how.resize == "stretch" or how.shorter_side is None:
        return image if image.size == target else image.resize(target, resampling)
    # The geometry is torchvision's: the shorter side exactly, the longer one rounded down, the crop's corner rounded
    # half to even. Only the region that the crop keeps is resampled, and once: that differs from resizing all and
    # cutting then by one grey level at most, and an image of 1 x 50,000,000 pixels costs nothing.
    short = min(image.size)
    width, height = (int(how.shorter_side * side / short) for side in image.size)
    left, top = round((width - how.width) / 2), round((height - how.height) / 2)
    x, y = image.width / width, image.height / height
    region = (left * x, top * y, (left + how.width) * x, (top + how.height) * y)
    return image.resize(target, resampling, box=region)
