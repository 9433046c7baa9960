"""Image files to pixels: what a phone, a scanner or an attacker sends."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway_core.images import ImageSpec
from slipway_export.image_model.decoding import ImageRefused, Preparation, opened, pixels_of, prepared

RNG = np.random.default_rng(0)
SMOOTH = np.kron(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))  # 32 x 48


def how(**settings: Any) -> Preparation:
    """Stretching to 32 x 48 RGB unless said otherwise, read as a published version reads it."""
    spec = ImageSpec.model_validate({"height": 32, "width": 48, **settings})
    return Preparation.from_json(spec.model_dump_json())


def encoded(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, file_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF"])
def test_a_lossless_file_gives_its_very_pixels(file_format: str) -> None:
    np.testing.assert_array_equal(prepared(encoded(SMOOTH, file_format), how()), SMOOTH)


def test_a_webp_gives_its_very_pixels() -> None:
    np.testing.assert_array_equal(prepared(encoded(SMOOTH, "WEBP", lossless=True), how()), SMOOTH)


def test_a_jpeg_is_close_to_what_was_photographed() -> None:
    photo = encoded(SMOOTH, "JPEG", quality=95, subsampling=0)
    assert np.abs(prepared(photo, how()).astype(int) - SMOOTH).mean() < 2


def test_the_right_side_is_up_whatever_the_camera_was_held_like() -> None:
    upright = Image.fromarray(SMOOTH)
    turned = {  # EXIF's number: how the pixels lie in the file
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }
    for orientation, stored in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for file_format in ("PNG", "TIFF"):
            np.testing.assert_array_equal(prepared(encoded(stored, file_format, exif=exif), how()), SMOOTH)


def test_cmyk_gives_the_colours_that_were_printed() -> None:
    ink = Image.fromarray(SMOOTH).convert("CMYK")
    np.testing.assert_array_equal(prepared(encoded(ink, "TIFF"), how()), SMOOTH)
    assert np.abs(prepared(encoded(ink, "JPEG", quality=95), how()).astype(int) - SMOOTH).mean() < 6


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(file_format: str) -> None:
    grey = SMOOTH[..., 0]
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(prepared(encoded(wide, file_format), how(channels=1))[..., 0], grey)
    ramp = Image.fromarray(np.linspace(0, 65535, 32 * 48).reshape(32, 48).astype(np.uint16))
    expected = np.rint(np.asarray(ramp) / 257)
    np.testing.assert_array_equal(prepared(encoded(ramp, file_format), how(channels=1))[..., 0], expected)


def test_sixteen_bits_of_colour_keep_their_upper_half() -> None:
    np.testing.assert_array_equal(prepared(png_of_16_bit_colour(SMOOTH), how()), SMOOTH)


def test_a_palette_gives_its_colours() -> None:
    few = Image.fromarray(SMOOTH).convert("P", palette=Image.Palette.ADAPTIVE, colors=24)
    for file_format in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(prepared(encoded(few, file_format), how()), SMOOTH)


def test_one_bit_is_black_and_white() -> None:
    bits = SMOOTH[..., 0] > 127
    np.testing.assert_array_equal(prepared(encoded(bits), how(channels=1))[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("background", [0, 255])
def test_transparent_pixels_show_the_background(background: int) -> None:
    alpha = np.zeros((32, 48, 1), np.uint8)
    alpha[:, :24] = 255
    expected = np.where(alpha == 255, SMOOTH, background)
    colour = np.concatenate([SMOOTH, alpha], axis=2)
    np.testing.assert_array_equal(prepared(encoded(colour), how(background=background)), expected)
    grey_alpha = np.concatenate([SMOOTH[..., :1], alpha], axis=2)
    found = prepared(encoded(grey_alpha), how(background=background, channels=1))
    np.testing.assert_array_equal(found, expected[..., :1])


def test_a_transparent_palette_entry_and_a_transparent_colour_show_the_background() -> None:
    marked = np.zeros((32, 48), np.uint8)
    marked[:, 24:] = 1
    palette = Image.fromarray(marked)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    expected = np.where(marked[..., None] == 1, 90, np.array([10, 20, 30]))
    for file_format in ("PNG", "GIF"):
        data = encoded(palette, file_format, transparency=1)
        np.testing.assert_array_equal(prepared(data, how(background=90)), expected)
    colour = np.where(marked[..., None] == 1, np.array([1, 2, 3]), np.array([10, 20, 30])).astype(np.uint8)
    np.testing.assert_array_equal(prepared(encoded(colour, transparency=(1, 2, 3)), how(background=90)), expected)


def test_half_transparent_pixels_mix_with_the_background() -> None:
    colour = np.full((32, 48, 4), [200, 100, 0, 128], np.uint8)
    found = prepared(encoded(colour), how(background=255)).astype(int)
    assert np.abs(found - [227, 177, 127]).max() <= 1


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.fromarray(np.full((32, 48), value, np.uint8)) for value in (40, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (prepared(data, how()) == 40).all()


def test_colour_becomes_grey_by_its_brightness_and_grey_becomes_colour() -> None:
    luma = np.rint(SMOOTH @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(prepared(encoded(SMOOTH), how(channels=1))[..., 0] - luma).max() <= 1
    np.testing.assert_array_equal(prepared(encoded(SMOOTH[..., 0]), how()), np.repeat(SMOOTH[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("name", "resampling"),
    [
        ("nearest", Image.Resampling.NEAREST),
        ("box", Image.Resampling.BOX),
        ("bilinear", Image.Resampling.BILINEAR),
        ("bicubic", Image.Resampling.BICUBIC),
    ],
)
def test_stretching_resizes_to_the_very_size_with_the_cards_interpolation(name: str, resampling: Any) -> None:
    expected = np.asarray(Image.fromarray(SMOOTH).resize((20, 10), resampling))
    np.testing.assert_array_equal(prepared(encoded(SMOOTH), how(height=10, width=20, interpolation=name)), expected)


@pytest.mark.parametrize(("width", "height"), [(500, 333), (240, 320), (97, 101), (224, 224), (30, 300)])
def test_cropping_keeps_the_ratio_and_cuts_the_centre_as_torchvision_does(width: int, height: int) -> None:
    rough = Image.fromarray(RNG.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8))
    photo = rough.resize((width, height), Image.Resampling.BICUBIC)
    # torchvision's Resize(64) and CenterCrop(56), in Pillow's words.
    short = min(photo.size)
    resized = photo.resize((int(64 * width / short), int(64 * height / short)), Image.Resampling.BILINEAR)
    left, top = round((resized.width - 56) / 2), round((resized.height - 56) / 2)
    expected = np.asarray(resized.crop((left, top, left + 56, top + 56))).astype(int)
    found = prepared(encoded(photo), how(height=56, width=56, resize="crop", shorter_side=64))
    assert np.abs(found - expected).max() <= 1


def test_a_very_long_image_is_cropped_without_becoming_larger() -> None:
    line = np.zeros((1, 200_000), np.uint8)
    line[:, 99_000:101_000] = 255
    found = prepared(encoded(line), how(height=32, width=32, resize="crop", shorter_side=32))
    assert (found == 255).all()


def refusal(data: bytes, **settings: Any) -> str:
    with pytest.raises(ImageRefused) as caught:
        prepared(data, how(**settings))
    return str(caught.value)


def test_an_empty_file_is_refused() -> None:
    assert refusal(b"") == "the file is empty"


NOT_AN_IMAGE = "not an image slipway can read (JPEG, PNG, BMP, GIF, TIFF or WebP)"


@pytest.mark.parametrize(
    "data", [b"I am a text file named cat.png", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 50]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert refusal(data) == NOT_AN_IMAGE


def test_a_format_that_pillow_knows_and_slipway_does_not_take_is_refused() -> None:
    assert refusal(encoded(SMOOTH, "PPM")) == NOT_AN_IMAGE
    assert refusal(encoded(SMOOTH, "ICO")) == NOT_AN_IMAGE


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP"])
def test_a_file_that_was_cut_off_is_refused(file_format: str) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, file_format)
    for share in (0.3, 0.6, 0.9):
        assert refusal(data[: int(len(data) * share)]) in (
            "the file is cut off",
            "the file is damaged",
            "the file is cut off or damaged",
        )
    if file_format in ("JPEG", "PNG"):
        assert refusal(data[: len(data) // 2]) == "the file is cut off"
    assert refusal(data[:12]).startswith("the file is cut off")


def test_a_damaged_file_is_refused() -> None:
    data = bytearray(encoded(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    data[2000:2400] = b"\x55" * 400
    assert refusal(bytes(data)) == "the file is damaged"


def test_a_bomb_is_refused_from_its_header() -> None:
    row = zlib.compress(b"\0" * 30_000, 9)  # far too little data: only the header is read
    data = png(30_000, 30_000, bit_depth=8, colour_type=0, compressed=row)
    assert refusal(data) == "900,000,000 pixels are more than the 50,000,000 allowed"
    assert refusal(encoded(SMOOTH), max_pixels=1000) == "1,536 pixels are more than the 1,000 allowed"


def test_several_images_are_refused_by_the_sum_of_their_pixels_and_a_single_one_is_not() -> None:
    allowed = how(max_request_pixels=4000)
    images = [opened(encoded(SMOOTH), allowed) for _ in range(3)]
    assert pixels_of(images[:2], allowed) == 2 * 1536
    with pytest.raises(ImageRefused) as caught:
        pixels_of(images, allowed)
    assert str(caught.value) == (
        "the 3 images have 4,608 pixels together, more than the 4,000 allowed in one request; send fewer at a time"
    )
    assert pixels_of(images[:1], how(max_request_pixels=1)) == 1536


def test_pixels_of_32_bits_are_refused_rather_than_guessed() -> None:
    for dtype in (np.float32, np.int32):
        assert "32 bits" in refusal(encoded(Image.fromarray(SMOOTH[..., 0].astype(dtype)), "TIFF"))


def test_settings_of_a_later_slipway_are_ignored() -> None:
    text = ImageSpec(height=8, width=8).model_dump_json()
    assert Preparation.from_json(text[:-1] + ', "sharpen": true}').height == 8


def png(width: int, height: int, *, bit_depth: int, colour_type: int, compressed: bytes) -> bytes:
    """A PNG by hand: Pillow writes neither bombs nor 16-bit colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b"")


def png_of_16_bit_colour(pixels: np.ndarray) -> bytes:
    wide = pixels.astype(">u2") * 256 + 77
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    return png(pixels.shape[1], pixels.shape[0], bit_depth=16, colour_type=2, compressed=zlib.compress(rows))
