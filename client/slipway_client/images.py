"""Image files on their way to a model: reading them, and naming the one that is at fault."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from slipway_core.errors import InvalidImage, InvalidInput


def image_names(images: Sequence[bytes | Path], names: Sequence[str] | None) -> Sequence[str]:
    """What errors call each image. Raises :class:`InvalidInput` for no image, or names that do not match."""
    if not images:
        raise InvalidInput("there are no images; send at least one")
    if names is None:
        return [str(image) if isinstance(image, Path) else f"image {at}" for at, image in enumerate(images)]
    if len(names) != len(images):
        raise InvalidInput(f"{len(images)} images came with {len(names)} names")
    return names


async def read_images(images: Sequence[bytes | Path], names: Sequence[str]) -> list[bytes]:
    """The files' contents. Raises :class:`InvalidImage` for one that is empty or cannot be read."""
    return [await _read(image, name) for image, name in zip(images, names, strict=True)]


async def _read(image: bytes | Path, name: str) -> bytes:
    try:
        content = await asyncio.to_thread(image.read_bytes) if isinstance(image, Path) else image
    except OSError as e:
        raise InvalidImage(name, f"cannot be read ({e.strerror})") from None
    if not content:
        raise InvalidImage(name, "the file is empty")
    return content


def faulty_image(error: InvalidInput, names: Sequence[str], start: int) -> InvalidInput:
    """An image model's ``image <i>: <reason>`` with the image's name; any other error as it is.

    ``start`` is the position of the request's first image among all.
    """
    match = re.fullmatch(r"image (\d+): (.*)", str(error), re.DOTALL)
    if not names or match is None:
        return error
    at = start + int(match.group(1))
    return InvalidImage(names[at] if at < len(names) else f"image {at}", match.group(2))
