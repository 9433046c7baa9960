"""The client against a real Triton: what the fake promises is what the server does."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from slipway_client import Client
from slipway_core import errors
from support.export import pixel_images
from support.frontend import IRIS_ROW
from support.served import FLOWERS, MIRROR, PIXELS, publish_all
from support.triton import RunningTriton


@pytest.fixture(scope="module")
def client(triton: RunningTriton) -> Iterator[Client]:
    publish_all(triton)
    with Client(triton.grpc, deadline_s=20) as client:
        yield client


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def test_models_are_listed_with_what_their_cards_said(client: Client) -> None:
    by_name = {model.name: model for model in client.models()}
    assert by_name[FLOWERS].labels == ("setosa", "versicolor", "virginica")
    assert [feature.unit for feature in by_name[FLOWERS].features] == ["cm"] * 4
    assert by_name[FLOWERS].versions == ("1",)
    assert (by_name[PIXELS].role, by_name[f"{PIXELS}_net"].role, by_name[MIRROR].has_card) == ("model", "net", False)


def test_ten_thousand_rows_come_back_in_order(client: Client) -> None:
    rows = [
        {**IRIS_ROW, "petal_length": 1.4 if at % 3 else 6.5, "petal_width": 0.2 if at % 3 else 2.3}
        for at in range(10_000)
    ]
    result = client.predict(FLOWERS, rows)
    expected = ["setosa" if at % 3 else "virginica" for at in range(10_000)]
    assert [prediction.label for prediction in result.predictions] == expected  # type: ignore[union-attr]


def test_images_come_back_in_order_and_equal_to_one_by_one(client: Client) -> None:
    images = [png(pixels) for pixels in pixel_images(20)]
    together = client.classify(PIXELS, images).predictions
    alone = [client.classify(PIXELS, [image]).predictions[0] for image in images]
    assert [a.label for a in together] == [b.label for b in alone]  # type: ignore[union-attr]


def test_a_text_named_png_fails_with_its_name_and_spoils_nothing_else(client: Client) -> None:
    good = png(pixel_images(1)[0])
    with pytest.raises(errors.InvalidImage) as refused:
        client.classify(PIXELS, [good] * 17 + [b"some text"], names=[f"{at}.png" for at in range(18)])
    assert str(refused.value).startswith("17.png: ")
    assert client.classify(PIXELS, [good]).version == "1"


@pytest.mark.parametrize("name", ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_whole_numbers_of_every_width_survive_the_journey(client: Client, name: str) -> None:
    dtype = np.dtype(name if name != "bool" else np.bool_)
    limits = (0, 1) if name == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    sent = np.array([limits], dtype)
    received = client.infer(MIRROR, {f"in_{name}": sent}).tensors[f"out_{name}"]
    assert received.dtype == dtype and np.array_equal(received, sent)


def test_fractions_and_bytes_survive_the_journey(client: Client) -> None:
    sent = {
        "in_fp32": np.array([[1.5, np.nan, -np.inf]], np.float32),
        "in_fp64": np.array([[1e300, 0.1]]),
        "in_bytes": np.array([[b"\x00\xff", b"", "Köln".encode()]], np.object_),
    }
    received = client.infer(MIRROR, sent).tensors
    for name, array in sent.items():
        returned = received[name.replace("in", "out", 1)]
        assert returned.tolist() == array.tolist() or np.array_equal(returned, array, equal_nan=True)


REFUSALS = [
    (
        FLOWERS,
        {"features": np.ones((17, 4), np.float32)},
        errors.BatchTooLarge,
        "17 rows are more than model 'flowers'",
    ),
    (FLOWERS, {"features": np.ones((1, 5), np.float32)}, errors.InvalidInput, "Expected [-1,4], got [1,5]"),
    (
        FLOWERS,
        {"features": np.ones((1, 4))},
        errors.InvalidInput,
        "data-type is 'FP64', but model 'flowers' expects 'FP32'",
    ),
    (FLOWERS, {"feature": np.ones((1, 4), np.float32)}, errors.InvalidInput, "unexpected inference input 'feature'"),
    (FLOWERS, {}, errors.InvalidInput, "missing required input(s) ['features']"),
    ("flower", {"x": np.ones(1)}, errors.ModelNotFound, "no model 'flower' is served; did you mean 'flowers'?"),
]


@pytest.mark.parametrize(("model", "tensors", "kind", "told"), REFUSALS, ids=[told[:40] for *_, told in REFUSALS])
def test_what_triton_refuses_is_told_in_its_words_without_its_noise(
    client: Client, model: str, tensors: dict[str, np.ndarray], kind: type[Exception], told: str
) -> None:
    with pytest.raises(errors.SlipwayError) as refused:
        client.infer(model, tensors)
    assert type(refused.value) is kind
    assert told in str(refused.value)
    assert "request id" not in str(refused.value) and "NOTE" not in str(refused.value)


def test_a_version_that_is_not_live_is_told_with_those_that_are(client: Client) -> None:
    with pytest.raises(errors.ModelNotFound) as refused:
        client.predict(FLOWERS, [IRIS_ROW], version="9")
    assert str(refused.value) == "model 'flowers' has no live version '9'; available: 1"


def test_a_model_is_unloaded_and_loaded_again(client: Client) -> None:
    client.unload(MIRROR)
    with pytest.raises(errors.ModelNotFound):
        client.infer(MIRROR, {"in_int8": np.ones((1, 1), np.int8)})
    client.load(MIRROR)
    assert client.model_ready(MIRROR)
    assert client.statistics(MIRROR).model_stats[0].name == MIRROR


def test_a_model_without_a_directory_cannot_be_loaded(client: Client) -> None:
    with pytest.raises(errors.RepositoryBroken, match=r"^nowhere: .*failed to poll from model repository"):
        client.load("nowhere")
