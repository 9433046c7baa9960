"""Rows and images become predictions, however many there are and whatever changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_client import Client, FakeTransport, rpcs
from slipway_core.errors import (
    BatchTooLarge,
    InvalidImage,
    InvalidInput,
    ModelNotFound,
    ServerUnavailable,
    UnknownFeature,
    WrongTask,
)
from slipway_core.predictions import Classification
from slipway_core.rows import rows_to_tensors
from support.frontend import IRIS_ROW, fake_triton

PNG = b"\x89PNG"


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def client(triton: FakeTransport) -> Iterator[Client]:
    with Client(triton) as client:
        yield client


def rows(*petal_lengths: float) -> list[dict[str, float]]:
    return [{**IRIS_ROW, "petal_length": length} for length in petal_lengths]


def labels(result: object) -> list[str]:
    return [prediction.label for prediction in result.predictions]  # type: ignore[attr-defined]


def png(last_digit: int) -> bytes:
    return PNG + b"x" * (16 + last_digit)


def test_rows_are_answered_in_order_with_labels_and_probabilities(client: Client) -> None:
    result = client.predict("iris", rows(6.0, 1.4))
    assert (result.model, result.version) == ("iris", "1")
    assert labels(result) == ["virginica", "setosa"]
    first = result.predictions[0]
    assert isinstance(first, Classification)
    assert list(first.probabilities) == ["setosa", "versicolor", "virginica"]
    assert first.probabilities["virginica"] == pytest.approx(0.96)


def test_ten_thousand_rows_are_split_at_the_batch_limit_and_joined_in_order(
    client: Client, triton: FakeTransport
) -> None:
    lengths = [1.0 + (at * 7 % 60) / 10 for at in range(10_000)]
    result = client.predict("iris", rows(*lengths))
    expected = ["setosa" if n < 2.5 else "versicolor" if n < 4.9 else "virginica" for n in lengths]
    assert labels(result) == expected
    sizes = [request.inputs[0].shape[0] for request in triton.requests(rpcs.MODEL_INFER)]
    assert sorted(sizes, reverse=True) == [64] * 156 + [16]


def test_raw_inference_refuses_what_predict_would_split_and_names_the_limit(client: Client) -> None:
    tensors = rows_to_tensors(client.model("iris").features, rows(*[1.0] * 10_000))
    with pytest.raises(BatchTooLarge) as refused:
        client.infer("iris", tensors)
    assert str(refused.value) == (
        "10000 rows are more than model 'iris' takes in one request (64); "
        "send at most 64, or use predict, which splits and joins them"
    )


def test_raw_inference_gives_the_outputs_that_were_asked_for(client: Client) -> None:
    tensors = rows_to_tensors(client.model("iris").features, rows(1.4))
    result = client.infer("iris", tensors, outputs=["label"])
    assert {name: array.tolist() for name, array in result.tensors.items()} == {"label": [[0]]}


def test_a_version_is_asked_by_name_and_the_newest_without_one(client: Client, triton: FakeTransport) -> None:
    triton.models["iris"] = replace(triton.models["iris"], versions=("1", "3"))
    assert client.predict("iris", rows(1.4)).version == "3"
    assert client.predict("iris", rows(1.4), version="1").version == "1"


def test_one_answer_never_mixes_versions_when_a_new_one_goes_live_in_the_middle(
    client: Client, triton: FakeTransport
) -> None:
    old = triton.models["iris"]

    def answer_and_activate(tensors: dict[str, object]) -> object:
        triton.models["iris"] = replace(old, versions=("1", "2"))
        return old.answer(tensors)  # type: ignore[arg-type]

    triton.models["iris"] = replace(old, answer=answer_and_activate)  # type: ignore[arg-type]
    result = client.predict("iris", rows(*[1.4] * 200))
    assert result.version == "2"
    assert labels(result) == ["setosa"] * 200


def test_a_model_whose_features_changed_is_noticed_without_waiting(client: Client, triton: FakeTransport) -> None:
    client.predict("iris", rows(1.4))
    config = type(triton.models["iris"].config)()
    config.CopyFrom(triton.models["iris"].config)
    parameter = config.parameters["slipway.features"]
    parameter.string_value = parameter.string_value.replace("petal_length", "petal_size")
    triton.models["iris"] = replace(triton.models["iris"], config=config)
    renamed = [{("petal_size" if name == "petal_length" else name): v for name, v in IRIS_ROW.items()}]
    assert labels(client.predict("iris", renamed)) == ["setosa"]


def test_the_card_is_read_once_for_many_predictions(client: Client, triton: FakeTransport) -> None:
    for _ in range(20):
        client.predict("iris", rows(1.4))
    assert len(triton.requests(rpcs.MODEL_CONFIG)) == 1


def test_images_are_classified_from_bytes_and_from_files(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    path.write_bytes(png(7))
    assert labels(client.classify("digits", [png(3), path])) == ["3", "7"]


def test_one_hundred_images_are_two_requests_in_order(client: Client, triton: FakeTransport) -> None:
    assert labels(client.classify("digits", [png(at % 10) for at in range(100)])) == [str(at % 10) for at in range(100)]
    sizes = [request.inputs[0].shape[0] for request in triton.requests(rpcs.MODEL_INFER)]
    assert sorted(sizes) == [36, 64]


def test_large_images_are_sent_a_few_at_a_time_in_order(client: Client, triton: FakeTransport) -> None:
    # What follows a PNG's end is none of its pixels: as heavy as a photo of 12 megapixels.
    photos = [png(at % 10) + bytes(6_000_000) for at in range(7)]
    assert labels(client.classify("digits", photos)) == [str(at) for at in range(7)]
    assert [request.inputs[0].shape[0] for request in triton.requests(rpcs.MODEL_INFER)] == [2, 2, 2, 1]


def test_an_image_heavier_than_a_part_goes_alone(client: Client, triton: FakeTransport) -> None:
    assert labels(client.classify("digits", [png(3), png(4) + bytes(18_000_000), png(5)])) == ["3", "4", "5"]
    assert [request.inputs[0].shape[0] for request in triton.requests(rpcs.MODEL_INFER)] == [1, 1, 1]


def test_a_bad_image_is_named_by_its_place_among_all_images(client: Client) -> None:
    images = [png(1)] * 70 + [b"some text"]
    with pytest.raises(InvalidImage) as refused:
        client.classify("digits", images)
    assert str(refused.value) == "image 70: not an image that can be decoded"
    with pytest.raises(InvalidImage) as refused:
        client.classify("digits", images, names=[f"{at}.png" for at in range(71)])
    assert str(refused.value) == "70.png: not an image that can be decoded"


def test_a_file_that_cannot_be_read_is_named(client: Client, tmp_path: Path) -> None:
    missing = tmp_path / "no.png"
    with pytest.raises(InvalidImage) as refused:
        client.classify("digits", [missing])
    assert str(refused.value) == f"{missing}: cannot be read (No such file or directory)"


def test_an_empty_file_is_named(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match=r"^image 1: the file is empty$"):
        client.classify("digits", [png(1), b""])


@pytest.mark.parametrize(
    ("images", "names", "message"),
    [
        ([], None, "there are no images; send at least one"),
        ([PNG, PNG], ["one"], "2 images came with 1 names"),
    ],
)
def test_images_and_names_must_match(
    client: Client, images: list[bytes], names: list[str] | None, message: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.classify("digits", images, names=names)
    assert str(refused.value) == message


def test_a_wrong_feature_name_is_refused_with_the_closest(client: Client, triton: FakeTransport) -> None:
    with pytest.raises(UnknownFeature) as refused:
        client.predict("iris", [{"petal_lenght": 1.4}])
    assert str(refused.value) == (
        "row 0: unknown feature 'petal_lenght'; did you mean 'petal_length'? "
        "the model's features are sepal_length, sepal_width, petal_length, petal_width"
    )
    assert triton.requests(rpcs.MODEL_INFER) == []


def test_what_a_model_cannot_do_is_said_with_what_to_do_instead(client: Client, triton: FakeTransport) -> None:
    net = type(triton.models["iris"].config)(name="digits_net", max_batch_size=64)
    net.parameters["slipway.task"].string_value = "classification"
    net.parameters["slipway.role"].string_value = "net"
    triton.models["digits_net"] = replace(triton.models["digits"], config=net)
    triton.models["foreign"] = replace(triton.models["digits"], config=type(net)(name="foreign"))
    attempts = [
        (
            lambda: client.predict("digits", rows(1.4)),
            "model 'digits' cannot predict on rows; it takes images: use classify",
        ),
        (lambda: client.classify("iris", [PNG]), "model 'iris' cannot classify images; it takes rows: use predict"),
        (
            lambda: client.classify("digits_net", [PNG]),
            "model 'digits_net' cannot classify images; it is the inner half of 'digits': ask that",
        ),
        (
            lambda: client.predict("foreign", rows(1.4)),
            "model 'foreign' cannot predict on rows; slipway published no card with it: use infer",
        ),
    ]
    for attempt, message in attempts:
        with pytest.raises(WrongTask) as refused:
            attempt()
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("model", "version", "message"),
    [
        ("irris", "", "no model 'irris' is served; did you mean 'iris'?"),
        ("weather", "", "no model 'weather' is served; available: digits, iris"),
        ("weather", "7", "no model 'weather' is served; available: digits, iris"),
        ("iris", "7", "model 'iris' has no live version '7'; available: 1"),
        ("n" * 10_000, "", f"no model '{'n' * 80}...' is served; available: digits, iris"),
    ],
)
def test_an_unknown_model_or_version_is_refused_with_what_there_is(
    client: Client, model: str, version: str, message: str
) -> None:
    with pytest.raises(ModelNotFound) as refused:
        client.predict(model, rows(1.4), version=version)
    assert str(refused.value) == message


@pytest.mark.parametrize("version", ["x", "0", "-1", "1.0", "9" * 19, "1 "])
def test_a_version_that_is_no_number_is_refused(client: Client, version: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        client.predict("iris", rows(1.4), version=version)
    assert str(refused.value) == f"version must be a positive whole number, got {version!r}"


def test_nothing_answering_is_told_with_the_address_and_the_remedy(client: Client, triton: FakeTransport) -> None:
    triton.down = True
    with pytest.raises(ServerUnavailable) as refused:
        client.predict("iris", rows(1.4))
    assert str(refused.value) == "no Triton answers at fake:0 (connection refused); start one with: slipway up"
    assert not client.live() and not client.ready() and not client.model_ready("iris")
