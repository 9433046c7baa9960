"""Digits, really trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from slipway_core.baseline import CategoryBaseline, NumericBaseline, image_statistics
from slipway_core.images import normalised
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training import train
from support.reports import Report
from support.training import Remembered, card

LABELS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    told: Remembered
    summary: TrainingSummary

    def logits(self, images: Array) -> Array:
        """What the written file answers to uint8 images."""
        spec = card("digits").image
        assert spec is not None
        program = torch.export.load(self.folder / "model.pt2").module()
        with torch.no_grad():
            return program(torch.from_numpy(normalised(images, spec))).numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, told = tmp_path_factory.mktemp("digits") / "artifacts", Remembered()
    return Run(folder, told, train(card("digits"), out=folder, progress=told))


@pytest.fixture(scope="module")
def samples(run: Run) -> tuple[Array, Array]:
    with np.load(run.folder / "samples.npz") as file:
        return file["inputs"], file["targets"]


def test_a_run_leaves_exactly_its_four_files(run: Run) -> None:
    assert sorted(file.name for file in run.folder.iterdir()) == [
        "model.pt2",
        "report.html",
        "samples.npz",
        "summary.json",
    ]
    assert TrainingSummary.read(run.folder / "summary.json") == run.summary


def test_the_held_out_fifth_is_right_in_985_of_1000_cases(run: Run, samples: tuple[Array, Array]) -> None:
    images, targets = samples
    assert (images.dtype, images.shape) == (np.uint8, (360, 8, 8, 1))
    assert (targets.dtype, targets.shape) == (np.int64, (360,))
    accuracy = float((run.logits(images).argmax(axis=1) == targets).mean())
    assert accuracy >= 0.985
    assert run.summary.metrics.accuracy == pytest.approx(accuracy)
    assert (run.summary.rows_train, run.summary.rows_test) == (1437, 360)


def test_the_written_net_takes_any_batch_and_no_image_sees_its_neighbours(
    run: Run, samples: tuple[Array, Array]
) -> None:
    images, _ = samples
    together = run.logits(images)
    assert (together.dtype, together.shape) == (np.float32, (360, 10))
    for size in (1, 2, 7, 64, 300):
        assert np.allclose(run.logits(images[:size]), together[:size], rtol=1e-4, atol=1e-5), size


def test_the_summary_holds_settings_history_and_metrics_per_class(run: Run) -> None:
    summary = run.summary
    history, best = summary.parameters["history"], summary.parameters["best_epoch"]
    losses = [epoch["validation_loss"] for epoch in history]
    assert losses.index(min(losses)) == best - 1
    assert len(history) == summary.parameters["epochs"] <= summary.parameters["most_epochs"]
    assert run.told.tasks[0] == ("training", summary.parameters["most_epochs"])
    assert list(summary.metrics.per_class) == LABELS
    confusion = np.array(summary.metrics.confusion)
    assert confusion.sum() == 360
    assert [m.support for m in summary.metrics.per_class.values()] == confusion.sum(axis=1).tolist()
    assert set(summary.libraries) == {"python", "numpy", "scikit-learn", "torch"}


def test_the_baseline_describes_the_images_and_the_predictions(run: Run, samples: tuple[Array, Array]) -> None:
    features = [f for f in run.summary.baseline.features if isinstance(f, NumericBaseline)]
    assert [feature.name for feature in features] == ["brightness", "contrast", "ink"]
    of_test = image_statistics(samples[0])
    for feature in features:
        assert sum(feature.counts) == feature.count < run.summary.rows_train
        assert 0 <= feature.minimum < feature.maximum <= 1
        assert abs(float(of_test[feature.name].mean()) - feature.mean) < feature.std / 2
    predictions = run.summary.baseline.predictions
    assert isinstance(predictions, CategoryBaseline)
    columns = np.array(run.summary.metrics.confusion).sum(axis=0).tolist()
    assert predictions.counts == dict(zip(LABELS, columns, strict=True))


def test_the_report_shows_how_it_learnt_and_what_is_hard_and_fetches_nothing(run: Run) -> None:
    report = Report(run.folder / "report.html")
    assert report.fetched == []
    assert [alt.split(".")[0] for alt in report.alts][:2] == [
        f"Confusion matrix of the held-out set: {round(run.summary.metrics.accuracy * 360)} of 360 on the diagonal",
        "Learning curves",
    ]
    assert "misclassified" in report.alts[2]
    assert run.summary.data_sha256 in report.words
