"""Versions of an image model in a real Triton: activated under load, told apart, refused, batched."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipway_client import Client
from slipway_core.errors import InferenceFailed, InvalidInput, Overloaded, RepositoryBroken, ServerUnavailable
from slipway_core.predictions import Classification, Regression
from slipway_export import Published, activate, export, live_versions
from slipway_export.runtime import Session
from support.export import iris_card, linear_model, onnx_card, pixel_images, pixels_card
from support.triton import RunningTriton, wait_until

PIXELS = pixel_images(16, seed=5)
NUMBERS = itertools.count(1)
FILES: list[bytes] = []
for one in PIXELS:
    stream = io.BytesIO()
    Image.fromarray(one[..., 0]).save(stream, "PNG")
    FILES.append(stream.getvalue())
large = io.BytesIO()
Image.fromarray(PIXELS[0, ..., 0]).resize((1024, 1024), Image.Resampling.NEAREST).save(large, "PNG", compress_level=1)
LARGE = large.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sources")


@pytest.fixture
def client(triton: RunningTriton) -> Iterator[Client]:
    with Client(triton.grpc) as client:
        yield client


@dataclass
class Model:
    """An image model under a name of the test's own, published into the running Triton's repository."""

    name: str
    triton: RunningTriton
    sources: Path

    def publish(self, seed: int, *, live: bool = False) -> Published:
        card = pixels_card(self.sources, seed=seed, name=self.name)
        return export(card, repository=self.triton.repository, activate_on=self.triton.grpc if live else None)

    def activate(self, version: int) -> tuple[int, ...]:
        return activate(self.triton.repository, self.name, version, address=self.triton.grpc)

    def labels(self, version: int) -> list[str]:
        """What the published graph answers in this process."""
        path = self.triton.repository / f"{self.name}_net" / str(version) / "model.onnx"
        return list(map(str, Session(self.name, path.read_bytes()).run({"image": PIXELS})["label"][:, 0]))


@pytest.fixture
def model(triton: RunningTriton, sources: Path) -> Iterator[Model]:
    """Version 1 is live."""
    made = Model(f"pixels{next(NUMBERS)}", triton, sources)
    assert made.publish(seed=0, live=True).live
    yield made
    with Client(triton.grpc) as client:
        for name in (made.name, f"{made.name}_net"):
            client.unload(name)


def labels_of(client: Client, model: str, version: int | str = "") -> list[str]:
    answer = client.classify(model, FILES, version=str(version))
    return [prediction.label for prediction in answer.predictions if isinstance(prediction, Classification)]


@dataclass
class Load:
    """Requests from several threads, until the block ends."""

    answered: int = 0
    versions: set[str] = field(default_factory=set[str])
    failures: list[Exception] = field(default_factory=list[Exception])


@contextmanager
def load(client: Client, model: str, threads: int = 8) -> Iterator[Load]:
    """A quarter of them large images, which are answered beside the others."""
    seen, stop = Load(), threading.Event()

    def ask(file: bytes) -> None:
        while not stop.is_set():
            try:
                seen.versions.add(client.classify(model, [file]).version)
                seen.answered += 1
            except Exception as e:
                seen.failures.append(e)

    running = [threading.Thread(target=ask, args=(FILES[0] if at % 4 else LARGE,)) for at in range(threads)]
    for thread in running:
        thread.start()
    try:
        wait_until(lambda: seen.answered > 50, 30, "no request was answered")
        yield seen
        enough = seen.answered + 50
        wait_until(lambda: seen.answered > enough, 30, "requests stopped being answered")
    finally:
        stop.set()
        for thread in running:
            thread.join()


def achieved_batches(client: Client, model: str) -> set[int]:
    return {batch.batch_size for version in client.statistics(model).model_stats for batch in version.batch_stats}


def test_a_second_version_goes_live_under_load_without_a_failed_request(model: Model, client: Client) -> None:
    second = model.publish(seed=1)
    assert not second.live
    with load(client, model.name) as seen:
        assert model.activate(2) == (1, 2)
        wait_until(lambda: "2" in seen.versions, 30, "version 2 never answered")
    assert seen.failures == []
    assert seen.versions == {"1", "2"}
    # Each version answers as its own graph does, through a decoder that calls the net of its own version.
    assert labels_of(client, model.name, 1) == model.labels(1)
    assert labels_of(client, model.name, 2) == model.labels(2)
    assert model.labels(1) != model.labels(2)
    assert labels_of(client, model.name) == model.labels(2)
    assert max(achieved_batches(client, f"{model.name}_net")) > 1


def test_a_third_version_pushes_the_first_out_without_a_failed_request(model: Model, client: Client) -> None:
    for seed in (1, 2):
        model.publish(seed)
    model.activate(2)
    with load(client, model.name) as seen:
        assert model.activate(3) == (2, 3)
    assert seen.failures == []
    assert labels_of(client, model.name) == model.labels(3)
    assert not client.model_ready(model.name, "1")
    assert live_versions(model.triton.repository, f"{model.name}_net") == (2, 3)


def test_a_version_that_triton_refuses_leaves_everything_as_it_was(model: Model, client: Client) -> None:
    model.publish(seed=1)
    repository = model.triton.repository
    (repository / f"{model.name}_net" / "2" / "model.onnx").write_bytes(b"no model at all")
    configurations = [repository / name / "config.pbtxt" for name in (model.name, f"{model.name}_net")]
    before = [path.read_bytes() for path in configurations]
    with load(client, model.name) as seen, pytest.raises(RepositoryBroken, match=f"{model.name}_net"):
        model.activate(2)
    assert seen.failures == []
    assert [path.read_bytes() for path in configurations] == before
    assert live_versions(repository, model.name) == (1,)
    assert labels_of(client, model.name, 1) == model.labels(1)


def test_a_decoder_that_triton_refuses_takes_the_new_net_back(model: Model, client: Client) -> None:
    model.publish(seed=1)
    (model.triton.repository / model.name / "2" / "decoding.py").write_text("this is no Python")
    with load(client, model.name) as seen, pytest.raises(RepositoryBroken, match=model.name):
        model.activate(2)
    assert seen.failures == []
    for name in (model.name, f"{model.name}_net"):
        assert live_versions(model.triton.repository, name) == (1,)
        assert not client.model_ready(name, "2")
        assert client.model_ready(name, "1")


def test_a_triton_on_another_repository_is_noticed(
    model: Model, triton: RunningTriton, tmp_path: Path, sources: Path
) -> None:
    card = pixels_card(sources, name=model.name)
    export(card, repository=tmp_path, version=9)
    with pytest.raises(RepositoryBroken, match="has no version 9 of it; it serves another folder"):
        activate(tmp_path, model.name, 9, address=triton.grpc)


def test_images_that_cannot_be_read_fail_their_own_request_alone(model: Model, client: Client) -> None:
    bad: dict[str, Callable[[], bytes]] = {
        "image 1: the file is empty": lambda: b"",
        "image 1: not an image slipway can read (JPEG, PNG, BMP, GIF, TIFF or WebP)": lambda: b"a text named cat.png",
        "image 1: the file is cut off": lambda: FILES[1][: len(FILES[1]) // 2],
    }
    told: list[str] = []

    def ask(data: bytes) -> None:
        files = np.array([[FILES[0]], [data]], dtype=object)
        try:
            client.infer(model.name, {"image": files})
        except InvalidInput as e:
            told.append(str(e))

    with load(client, model.name) as seen:
        for message, data in bad.items():
            asking = [threading.Thread(target=ask, args=(data(),)) for _ in range(4)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            assert told == [message] * 4
            told.clear()
    assert seen.failures == []


def test_several_images_in_one_request_come_back_in_order(model: Model, client: Client) -> None:
    assert labels_of(client, model.name) == model.labels(1)


def test_only_the_outputs_that_were_asked_for_come_back(model: Model, client: Client) -> None:
    files = np.array([[data] for data in FILES[:3]], dtype=object)
    both = client.infer(model.name, {"image": files}).tensors
    assert set(both) == {"label", "probabilities"}
    one = client.infer(model.name, {"image": files}, outputs=["label"]).tensors
    assert set(one) == {"label"}
    np.testing.assert_array_equal(one["label"], both["label"])


def test_a_net_that_is_gone_is_told_as_something_that_passes(model: Model, client: Client) -> None:
    client.unload(f"{model.name}_net")
    wait_until(lambda: not client.model_ready(f"{model.name}_net"), 30, "the net stayed")
    with pytest.raises((Overloaded, ServerUnavailable), match=r"_net version 1: .*is not ready"):
        client.classify(model.name, FILES[:1])
    client.load(f"{model.name}_net")
    assert labels_of(client, model.name) == model.labels(1)


def test_a_regressor_answers_after_every_activation(triton: RunningTriton, client: Client, sources: Path) -> None:
    for version, slope in enumerate((1.0, 10.0), 1):
        card = onnx_card(
            sources,
            linear_model(np.full((2, 1), slope)),
            name="slopes",
            task="regression",
            output={"labels": [], "unit": "cm"},
            source={"output": "value"},
        )
        export(card, repository=triton.repository, activate_on=triton.grpc)
        answer = client.predict("slopes", [{"a": 1, "b": 2}])
        assert (answer.version, answer.predictions) == (str(version), [Regression(3 * slope)])
    activate(triton.repository, "slopes", 1, address=triton.grpc)
    assert client.predict("slopes", [{"a": 1, "b": 2}]).predictions == [Regression(3.0)]
    client.unload("slopes")


def test_a_version_that_no_client_can_read_is_not_put_into_service(
    triton: RunningTriton, client: Client, sources: Path
) -> None:
    card = onnx_card(sources, name="unread")
    export(card, repository=triton.repository, activate_on=triton.grpc)
    second = export(card, repository=triton.repository)
    config = second.path / "config.pbtxt"
    config.write_text(config.read_text().replace('string_value: "classification"', 'string_value: "divination"'))
    with pytest.raises(InferenceFailed, match="unknown task 'divination'"):
        activate(triton.repository, "unread", 2, address=triton.grpc)
    assert live_versions(triton.repository, "unread") == (1,)
    assert client.predict("unread", [{"a": 1, "b": 2}]).version == "1"
    client.unload("unread")


def test_a_tabular_model_is_exported_and_loaded_in_one_go(triton: RunningTriton, client: Client, sources: Path) -> None:
    card = iris_card(sources, name="irises")
    assert export(card, repository=triton.repository, activate_on=triton.grpc).live
    rows = [
        dict(zip((f.name for f in card.inputs), values, strict=True))
        for values in ((5.1, 3.5, 1.4, 0.2), (6.3, 3.3, 6, 2.5))
    ]
    answer = client.predict("irises", rows)
    assert [p.label for p in answer.predictions if isinstance(p, Classification)] == ["setosa", "virginica"]
    client.unload("irises")
