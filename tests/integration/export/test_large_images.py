"""Requests with many pixels in a real Triton: answered like others, beside others, and bounded."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway_client import Client
from slipway_core.errors import InvalidImage, InvalidInput, Overloaded
from slipway_core.predictions import Classification
from slipway_export import export
from support.export import PIXELS, pixel_images, pixels_card
from support.triton import RunningTriton, wait_until

IMAGES = pixel_images(4, seed=5)
NUMBERS = itertools.count(1)


def png(image: np.ndarray, times: int = 1) -> bytes:
    """The 8 x 8 image, each of its pixels ``times`` pixels wide and high: shrunk by box, it is itself again."""
    stream = io.BytesIO()
    enlarged = np.kron(image[..., 0], np.ones((times, times), np.uint8))
    Image.fromarray(enlarged).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


SMALL = [png(image) for image in IMAGES]
LARGE = [png(image, 128) for image in IMAGES]  # 1,048,576 pixels
HUGE = png(IMAGES[0], 512)  # 16,777,216 pixels, a tenth of a second of decoding


@pytest.fixture
def client(triton: RunningTriton) -> Iterator[Client]:
    with Client(triton.grpc) as client:
        yield client


@pytest.fixture
def served(triton: RunningTriton, client: Client, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Publish an image model with these changes to its card and load it; gives its name."""
    names: list[str] = []

    def serve(**changes: Any) -> str:
        names.append(f"large{next(NUMBERS)}")
        card = pixels_card(tmp_path, name=names[-1], **changes)
        assert export(card, repository=triton.repository, activate_on=triton.grpc).live
        return names[-1]

    yield serve
    for name in names:
        client.unload(name)
        client.unload(f"{name}_net")


def labels(client: Client, model: str, files: list[bytes]) -> list[str]:
    answer = client.classify(model, files)
    return [prediction.label for prediction in answer.predictions if isinstance(prediction, Classification)]


@contextmanager
def asking(client: Client, model: str, files: list[bytes], threads: int) -> Iterator[list[str]]:
    """Ask over and over from threads while the block runs; gives the outcomes as they come."""
    outcomes: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                outcomes.append(labels(client, model, files)[0])
            except Exception as e:
                outcomes.append(repr(e))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        for thread in running:
            thread.join()


def test_large_images_are_answered_like_small_ones_together_and_alone(
    served: Callable[..., str], client: Client
) -> None:
    model = served()
    expected = labels(client, model, SMALL)
    assert labels(client, model, LARGE) == expected
    assert [labels(client, model, [file])[0] for file in LARGE] == expected
    files = np.array([[file] for file in LARGE], dtype=object)
    assert set(client.infer(model, {"image": files}, outputs=["label"]).tensors) == {"label"}


def test_a_large_image_that_cannot_be_decoded_is_named_by_its_place(served: Callable[..., str], client: Client) -> None:
    cut_off = LARGE[1][: len(LARGE[1]) // 2]
    with pytest.raises(InvalidImage, match=r"^image 2: the file is cut off$"):
        client.classify(served(), [LARGE[0], SMALL[0], cut_off])


def test_small_images_are_answered_while_large_ones_are_decoded(served: Callable[..., str], client: Client) -> None:
    model = served()
    expected = labels(client, model, SMALL)
    # Were they to wait for one another, at least one large request would be answered for each small one.
    with asking(client, model, [HUGE], threads=2) as answered:
        for _ in range(20):
            assert labels(client, model, SMALL) == expected
        large = len(answered)
    assert large < 10
    assert set(answered) == {expected[0]}


def test_images_with_more_pixels_together_than_a_request_may_have_are_refused(
    served: Callable[..., str], client: Client
) -> None:
    model = served(image={**PIXELS, "max_request_pixels": 150})
    assert len(labels(client, model, SMALL[:2])) == 2
    with pytest.raises(InvalidInput) as refused:
        client.classify(model, SMALL[:3])
    assert str(refused.value) == (
        "the 3 images have 192 pixels together, more than the 150 allowed in one request; send fewer at a time"
    )


def test_a_full_queue_refuses_large_images_too(served: Callable[..., str], client: Client) -> None:
    model = served(batching={"max_queue_size": 1})
    refused = ""
    with asking(client, model, [HUGE], threads=1) as answered:
        while not refused and len(answered) < 20:
            try:
                labels(client, model, LARGE[:1])
            except Overloaded as e:
                refused = str(e)
    assert refused == f"model {model!r} takes no more requests now (its queue is full); try again later"


def test_a_large_request_that_has_begun_is_answered_though_its_model_is_unloaded(
    served: Callable[..., str], client: Client
) -> None:
    model = served()
    expected = labels(client, model, SMALL[:1]) * 5
    answered: list[list[str]] = []
    asking = threading.Thread(target=lambda: answered.append(labels(client, model, [HUGE] * 5)))
    asking.start()
    wait_until(lambda: executions(client, model) == 2, 30, "the large request never began")
    client.unload(model)
    asking.join()
    assert answered == [expected]


def executions(client: Client, model: str) -> int:
    return sum(version.execution_count for version in client.statistics(model).model_stats)
