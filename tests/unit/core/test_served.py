"""What the frontend needs to know about a model travels through Triton's parameters and comes back whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slipway_core.baseline import category_baseline, numeric_baseline
from slipway_core.card import ModelCard
from slipway_core.errors import InferenceFailed
from slipway_core.images import ImageSpec, normalised
from slipway_core.layout import ModelDirectory, model_names
from slipway_core.predictions import Classification, Regression
from slipway_core.served import parameters_of, served_model

CARDS = Path(__file__).parents[3] / "export" / "cards"


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_a_card_comes_back_from_the_parameters(name: str) -> None:
    card = ModelCard.from_toml(CARDS / f"{name}.toml")
    served = served_model(name, 64, parameters_of(card), ["1"])
    assert (served.task, served.features, served.image) == (card.task, card.inputs, card.image)
    assert (served.labels, served.description, served.versions) == (
        card.output.labels,
        card.description,
        ("1",),
    )


def test_a_model_without_slipways_parameters_is_known_as_foreign() -> None:
    served = served_model("theirs", 8, {"intra_op_thread_count": "1"})
    assert not served.has_card
    assert served.role == "model"


def test_parameters_that_cannot_be_read_are_named() -> None:
    with pytest.raises(InferenceFailed, match=r"its slipway\.\* parameters in config\.pbtxt cannot be read"):
        served_model("demo", 8, {"slipway.labels": "[1, "})


def test_the_models_own_label_wins_over_the_largest_probability() -> None:
    served = served_model("iris", 64, parameters_of(ModelCard.from_toml(CARDS / "iris.toml")))
    tensors = {"probabilities": np.array([[0.5, 0.4, 0.1]], np.float32), "label": np.array([[1]])}
    (prediction,) = served.predictions(tensors)
    assert isinstance(prediction, Classification)
    assert prediction.label == "versicolor"
    assert list(prediction.probabilities) == ["setosa", "versicolor", "virginica"]
    assert [name for name, _ in prediction.top(2)] == ["setosa", "versicolor"]


def test_a_regressor_answers_values() -> None:
    served = served_model("price", 64, {"slipway.task": "regression"})
    assert served.predictions({"value": np.array([[1.5], [2.5]], np.float32)}) == [
        Regression(1.5),
        Regression(2.5),
    ]


def test_outputs_that_do_not_fit_the_labels_are_a_failure_not_a_wrong_answer() -> None:
    served = served_model("iris", 64, parameters_of(ModelCard.from_toml(CARDS / "iris.toml")))
    with pytest.raises(InferenceFailed, match=r"\[1, 2\] probabilities do not fit 3 labels"):
        served.predictions({"probabilities": np.zeros((1, 2), np.float32)})
    with pytest.raises(InferenceFailed, match="it gave no output 'probabilities', only scores"):
        served.predictions({"scores": np.zeros((1, 3), np.float32)})


def test_images_are_normalised_per_channel_and_put_channels_first() -> None:
    spec = ImageSpec(height=1, width=2, channels=3, mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 2.0))
    images = np.array([[[[255, 255, 255], [0, 0, 0]]]], np.uint8)
    assert normalised(images, spec).tolist() == [[[[1, 0]], [[1, -1]], [[0, -0.5]]]]


def test_versions_are_directories_named_by_positive_integers(tmp_path: Path) -> None:
    for name in ("1", "3", "10", "02", "0", "x", ".staging"):
        (tmp_path / "iris" / name).mkdir(parents=True)
    (tmp_path / "iris" / "7").write_text("a file")
    (tmp_path / ".hidden").mkdir()
    directory = ModelDirectory(tmp_path, "iris")
    assert directory.versions() == [1, 3, 10]
    assert directory.next_version() == 11
    assert model_names(tmp_path) == ["iris"]
    assert ModelDirectory(tmp_path, "absent").next_version() == 1


def test_a_numeric_baseline_counts_what_is_there_and_what_is_missing() -> None:
    baseline = numeric_baseline("x", np.array([1.0, 2.0, 3.0, np.nan]), bins=2)
    assert (baseline.count, baseline.missing, baseline.mean, baseline.minimum, baseline.maximum) == (
        3,
        1,
        2.0,
        1.0,
        3.0,
    )
    assert baseline.counts == (1, 2)
    assert baseline.edges == (1.0, 2.0, 3.0)
    assert baseline.quantiles["p50"] == 2.0
    with pytest.raises(ValueError, match="'x' has no value at all"):
        numeric_baseline("x", np.array([np.nan]))


def test_a_category_baseline_counts_each_category() -> None:
    baseline = category_baseline("city", ["b", "a", None, "b"])
    assert (baseline.count, baseline.missing, baseline.counts) == (3, 1, {"a": 1, "b": 2})
