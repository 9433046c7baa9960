"""The parity gate: what passes, what does not, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slipway_core.errors import ExportFailed, ParityFailed, SourceNotFound
from slipway_core.tensors import TensorSpec
from slipway_export import export
from slipway_export.parity import batch_sizes, check_parity
from slipway_export.samples import Samples, read_samples
from support.export import iris_card, onnx_card, pixel_images, pixels_card, save_samples

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
    path = save_samples(tmp_path / "wide.npz", np.zeros((5, 7)))
    assert "must hold FP32 [samples, 2] for 'features' (the array 'inputs'), it holds float64 [5, 7]" in refused(
        tmp_path, path
    )
    card = pixels_card(tmp_path)
    save_samples(tmp_path / "samples.npz", np.zeros((5, 8, 8, 1), np.float32))
    with pytest.raises(ExportFailed, match=r"must hold UINT8 \[samples, 8, 8, 1\]"):
        read_samples(card)


def test_samples_that_are_pickled_broken_empty_or_absent_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", inputs=np.array([{"a": 1}], dtype=object))
    assert "cannot be read" in refused(tmp_path, tmp_path / "pickled.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no more")
    assert "cannot be read" in refused(tmp_path, tmp_path / "broken.npz")
    assert "must hold at least one sample" in refused(tmp_path, save_samples(tmp_path / "none.npz", np.zeros((0, 2))))
    with pytest.raises(SourceNotFound, match=r"absent\.npz does not exist; train the model again"):
        read_samples(onnx_card(tmp_path, source={"samples": str(tmp_path / "absent.npz")}))
