"""The parity gate: what passes, what does not, and how it is told."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, ParityFailed, SourceNotFound
from slipway_core.tensors import TensorSpec
from slipway_export import export
from slipway_export.parity import batch_sizes, check_parity
from slipway_export.samples import Samples, read_samples
from support.export import iris_card, iris_pipeline, onnx_card, pixel_images, pixels_card, save_samples

VALUE = (TensorSpec("value", "FP32", (1,)),)
LABEL = (TensorSpec("label", "INT64", (1,)),)


def value_samples(count: int = 10) -> Samples:
    return Samples({"x": np.arange(count, dtype=np.float32).reshape(-1, 1)})


def same(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": inputs["x"].copy()}


def gate(folder: Path, converted: Any, reference: Any = same, samples: Samples | None = None, **changes: Any) -> Any:
    card = onnx_card(folder, name="m", **changes)
    return check_parity(card, samples or value_samples(), reference, converted, VALUE)


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 3, 4)), (7, (1, 2, 7)), (8, (1, 2, 7, 8)), (64, (1, 2, 7, 64))],
)
def test_one_two_an_odd_number_and_the_largest_batch_are_tried(most: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(most) == sizes


def test_every_sample_is_compared_at_every_size_and_the_last_batch_is_filled_up(tmp_path: Path) -> None:
    seen: dict[int, set[float]] = {}

    def converted(inputs: Mapping[str, Any]) -> dict[str, Any]:
        seen.setdefault(len(inputs["x"]), set()).update(inputs["x"][:, 0].tolist())
        return same(inputs)

    record = gate(tmp_path, converted, batching={"max_batch_size": 16})
    assert record.batches == (1, 2, 7, 16)
    assert record.samples == 10
    assert seen == {size: set(map(float, range(10))) for size in (1, 2, 7, 16)}


def test_the_record_names_the_worst_element(tmp_path: Path) -> None:
    record = gate(tmp_path, lambda inputs: {"value": inputs["x"] + np.where(inputs["x"] == 3, 2e-5, 0).astype("f4")})
    (output,) = record.outputs
    assert output.difference == pytest.approx(2e-5, rel=0.1)
    assert output.allowed == pytest.approx(1e-5 + 3e-4)


def test_a_difference_above_the_tolerance_is_refused_with_output_sample_and_distance(tmp_path: Path) -> None:
    def converted(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"value": np.where(inputs["x"] == 4, inputs["x"] + 0.25, inputs["x"]).astype(np.float32)}

    with pytest.raises(ParityFailed) as caught:
        gate(tmp_path, converted)
    assert (caught.value.output, caught.value.sample, caught.value.batch) == ("value", 4, 1)
    assert str(caught.value).startswith(
        "'m' was not published: output 'value' differs from the source model's by 0.25 at sample 4 (batch 1), "
        "allowed is 0.00041"
    )
    gate(tmp_path, converted, tolerance={"absolute": 0.3})


def test_a_model_that_is_wrong_only_in_the_largest_batch_is_refused(tmp_path: Path) -> None:
    def converted(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"value": inputs["x"] + np.float32(len(inputs["x"]) == 8)}

    with pytest.raises(ParityFailed, match=r"\(batch 8\)"):
        gate(tmp_path, converted)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_number_that_is_none_on_one_side_is_refused(tmp_path: Path, wrong: float) -> None:
    def spoiled(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"value": np.where(inputs["x"] == 6, wrong, inputs["x"]).astype(np.float32)}

    for converted, reference in ((spoiled, same), (same, spoiled)):
        with pytest.raises(ParityFailed) as caught:
            gate(tmp_path, converted, reference)
        assert (caught.value.sample, caught.value.difference) == (6, np.inf)
    gate(tmp_path, spoiled, spoiled)


def test_opposite_infinities_are_refused(tmp_path: Path) -> None:
    def infinite(sign: float) -> Any:
        return lambda inputs: {"value": np.full_like(inputs["x"], sign * np.inf)}

    with pytest.raises(ParityFailed):
        gate(tmp_path, infinite(1), infinite(-1))


def test_another_label_is_refused_whatever_the_tolerance(tmp_path: Path) -> None:
    def labels(wrong: int) -> Any:
        return lambda inputs: {"label": np.where(inputs["x"] == wrong, 1, 0).astype(np.int64)}

    card = onnx_card(tmp_path, tolerance={"absolute": 10, "relative": 10})
    record = check_parity(card, value_samples(), labels(3), labels(3), LABEL)
    assert record.outputs[0].labels_agree == 1
    with pytest.raises(ParityFailed, match="output 'label' differs"):
        check_parity(card, value_samples(), labels(3), labels(5), LABEL)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x: {}, "is missing for a batch of 1"),
        (lambda x: {"value": x[:, 0]}, r"is float32 \[1\] for a batch of 1, the contract says FP32 \[1, 1\]"),
        (lambda x: {"value": x.astype(np.float64)}, r"is float64 \[1, 1\]"),
    ],
)
def test_an_output_of_another_form_than_the_contracts_is_refused(tmp_path: Path, answer: Any, told: str) -> None:
    with pytest.raises(ExportFailed, match=told):
        gate(tmp_path, lambda inputs: answer(inputs["x"]))


def test_nothing_is_published_when_the_gate_is_shut(tmp_path: Path) -> None:
    # A tolerance that no arithmetic meets: the two libraries round differently.
    card = iris_card(tmp_path, tolerance={"absolute": 0, "relative": 0})
    with pytest.raises(ParityFailed, match="'iris' was not published: output 'probabilities' differs"):
        export(card, repository=tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_few_samples_are_repeated_and_it_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    export(
        onnx_card(tmp_path, batching={"max_batch_size": 32}), repository=tmp_path / "repository", progress=said.append
    )
    assert "parity: on 12 samples, repeated to fill a batch of 32" in said


def test_many_samples_are_thinned_evenly(tmp_path: Path) -> None:
    rows = np.arange(2000, dtype=np.float32).reshape(1000, 2)
    samples = save_samples(tmp_path / "many.npz", rows)
    chosen = read_samples(onnx_card(tmp_path, source={"samples": str(samples)})).inputs["features"]
    assert len(chosen) == 256
    assert (chosen[0, 0], chosen[-1, 0]) == (0, 1998)


def test_a_folder_of_images_is_decoded_as_the_served_model_decodes_it(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    images = pixel_images(3)
    for at, pixels in enumerate(images):
        Image.fromarray(pixels[..., 0]).save(folder / f"{at}.png")
    (folder / ".DS_Store").write_text("not an image, and hidden")
    card = pixels_card(tmp_path, source={"samples": str(folder)})
    np.testing.assert_array_equal(read_samples(card).inputs["image"], images)
    (folder / "notes.txt").write_text("what is this?")
    with pytest.raises(ExportFailed, match=r"notes\.txt cannot be used: not an image slipway can read"):
        read_samples(card)
    assert "a model of rows takes its samples from an .npz file" in refused(tmp_path, folder)


def refused(folder: Path, samples: Any) -> str:
    with pytest.raises(ExportFailed) as caught:
        read_samples(onnx_card(folder, source={"samples": samples and str(samples)}))
    return str(caught.value)


def test_a_card_without_samples_is_refused(tmp_path: Path) -> None:
    assert "the card has no source.samples; the parity gate compares on real samples" in refused(tmp_path, None)


def test_samples_of_another_form_are_refused_with_both(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    for array, found in (
        (np.zeros((5, 7)), "float64 [5, 7]"),
        (np.array([["a", "b"]]), "<U1 [1, 2]"),
        (np.ones((5, 2), complex), "complex128 [5, 2]"),
    ):
        assert refused(tmp_path, save_samples(path, array)) == (
            f"cannot export 'linear': {path} must hold FP32 [samples, 2] in the array 'inputs', it holds {found}"
        )
    card = pixels_card(tmp_path)
    save_samples(tmp_path / "samples.npz", np.zeros((5, 8, 8, 1), np.float32))
    with pytest.raises(ExportFailed, match=r"must hold UINT8 \[samples, 8, 8, 1\]"):
        read_samples(card)


def test_samples_that_are_pickled_broken_empty_or_absent_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    np.savez(path, inputs=np.array([{"a": 1}], dtype=object))
    assert refused(tmp_path, path) == (
        f"cannot export 'linear': the samples in {path} cannot be read "
        "(Object arrays cannot be loaded when allow_pickle=False)"
    )
    np.save(tmp_path / "one.npy", np.zeros((5, 2)))
    for content in (b"a,b\n1,2\n", b"", b"PK\x03\x04 no more", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        assert refused(tmp_path, path) == (
            f"cannot export 'linear': the samples in {path} are no .npz file, or cut off; "
            "write them with numpy.savez(path, inputs=...)"
        )
    for empty in (np.zeros((0, 2)), np.empty(0)):
        assert refused(tmp_path, save_samples(path, empty)) == f"cannot export 'linear': {path} holds no sample"
    np.savez(path, data=np.zeros((5, 2)), labels=np.zeros(5))
    assert refused(tmp_path, path) == (
        f"cannot export 'linear': {path} lacks the array 'inputs'; it has 'data', 'labels'"
    )
    with pytest.raises(SourceNotFound, match=r"absent\.npz does not exist; train the model again"):
        read_samples(onnx_card(tmp_path, source={"samples": str(tmp_path / "absent.npz")}))


def test_links_that_lead_nowhere_are_told_as_such(tmp_path: Path) -> None:
    link, gone, repository = tmp_path / "link", tmp_path / "gone", tmp_path / "repository"
    link.symlink_to(gone)
    for changed, remedy in (
        ("path", "copy it there, or mend source.path"),
        ("samples", "train the model again, or mend the card's source.samples"),
        ("summary", "train the model again, or take source.summary out of the card"),
    ):
        with pytest.raises(SourceNotFound) as caught:
            export(onnx_card(tmp_path, source={changed: str(link)}), repository=repository)
        assert str(caught.value) == f"cannot export 'linear': {link} (a link to {gone}) does not exist; {remedy}"
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "photo.png").symlink_to(gone)
    with pytest.raises(ExportFailed) as refused:
        read_samples(pixels_card(tmp_path, source={"samples": str(folder)}))
    photo = f"{folder / 'photo.png'} (a link to {gone})"
    assert str(refused.value) == f"cannot export 'pixels': the sample {photo} does not exist"


def with_optional(card: ModelCard) -> ModelCard:
    """The same, and clients may leave out the third feature."""
    features = tuple(feature.model_copy(update={"optional": at == 2}) for at, feature in enumerate(card.inputs))
    return card.model_copy(update={"inputs": features})


def test_an_optional_feature_is_left_out_on_purpose(tmp_path: Path) -> None:
    imputing = iris_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
    card = with_optional(iris_card(tmp_path, imputing))
    published = export(card, repository=tmp_path / "repository")
    assert published.parity.samples == 150 + 8

    card = with_optional(iris_card(tmp_path))
    with pytest.raises(ExportFailed) as refused:
        export(card, repository=tmp_path / "other")
    assert str(refused.value).startswith(
        "cannot export 'iris': scikit-learn's model does not take the samples, or not without its optional features "
        f"({card.inputs[2].name}): Input X contains NaN. "
    )


def test_samples_that_unpack_to_gigabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    card = iris_card(tmp_path)
    zipped = zipfile.ZipFile(tmp_path / "samples.npz", "w", zipfile.ZIP_DEFLATED)
    with zipped as archive, archive.open("inputs.npy", "w", force_zip64=True) as member:
        for _ in range(4200):
            member.write(bytes(2**20))
    with pytest.raises(ExportFailed) as refused:
        export(card, repository=tmp_path / "repository")
    assert str(refused.value) == (
        f"cannot export 'iris': {tmp_path / 'samples.npz'} unpacks to 4,404 MB, more than the 4,295 MB allowed"
    )


def test_samples_with_gaps_are_refused_for_a_model_that_takes_none(tmp_path: Path) -> None:
    card = iris_card(tmp_path)
    save_samples(tmp_path / "samples.npz", np.array([[5.1, 3.5, np.nan, 0.2]], np.float32))
    with pytest.raises(ExportFailed) as refused:
        export(card, repository=tmp_path / "repository")
    assert str(refused.value).startswith(
        "cannot export 'iris': scikit-learn's model does not take the samples: Input X contains NaN. "
    )
