"""Iris, really trained, on a CSV as people have them: other headers, gaps, a row without a label."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io

from slipway_core.baseline import CategoryBaseline, NumericBaseline
from slipway_core.summary import TrainingSummary, hash_file
from slipway_training import train
from support.reports import Report
from support.training import CARDS, NAMES, Remembered, card, iris_rows, run_training, summary_without_time, write_csv

SEED = 42
GAPS = {3: 0, 17: 0, 60: 2, 61: 3, 120: 1}
HEADER = ["Id", "SepalLengthCm", "SepalWidthCm", "PetalLengthCm", "PetalWidthCm", "Species"]


@dataclass(frozen=True)
class Run:
    """A finished training run."""

    folder: Path
    data: Path
    told: Remembered
    summary: TrainingSummary

    @property
    def pipeline(self) -> Any:
        return skops.io.load(self.folder / "model.skops", trusted=["numpy.dtype"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("iris")
    rows = [[str(at), *row[:4], f"Iris-{row[4]}"] for at, row in enumerate(iris_rows())]
    for row, feature in GAPS.items():
        rows[row][1 + feature] = ""
    rows[140][5] = ""
    data, told = write_csv(folder / "iris.csv", HEADER, rows), Remembered()
    summary = train(card("iris"), out=folder / "artifacts", data=data, seed=SEED, progress=told)
    return Run(folder / "artifacts", data, told, summary)


def test_a_run_leaves_exactly_its_four_files(run: Run) -> None:
    assert sorted(file.name for file in run.folder.iterdir()) == [
        "model.skops",
        "report.html",
        "samples.npz",
        "summary.json",
    ]
    assert TrainingSummary.read(run.folder / "summary.json") == run.summary


def test_a_second_run_in_another_process_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    # Other hash seeds and other thread counts: neither may reach the model.
    again = run_training(
        *["iris", "--cards", str(CARDS), "--data", str(run.data), "--seed", str(SEED), "--out", "again"],
        cwd=tmp_path,
        PYTHONHASHSEED="7",
        OMP_NUM_THREADS="3",
        OPENBLAS_NUM_THREADS="3",
    )
    said, complained = again.communicate(timeout=280)
    assert again.returncode == 0, complained
    assert said.splitlines()[0] == f"iris: accuracy {run.summary.metrics.accuracy:.4f} on 30 held-out rows"
    assert f"{run.data}: 5 missing values are replaced" in complained
    assert "comparing classifiers 6/6" in complained
    for file in ("model.skops", "samples.npz", "report.html"):
        assert (tmp_path / "again" / file).read_bytes() == (run.folder / file).read_bytes(), file
    assert summary_without_time(tmp_path / "again") == summary_without_time(run.folder)


def test_the_summary_says_what_was_done_with_which_data(run: Run) -> None:
    summary = run.summary
    assert (summary.recipe, summary.model, summary.seed) == ("iris", "iris", SEED)
    assert (summary.data, summary.data_sha256) == (str(run.data), hash_file(run.data))
    assert (summary.rows_train, summary.rows_test, summary.labels) == (119, 30, tuple(NAMES))
    assert set(summary.libraries) == {"python", "numpy", "scipy", "scikit-learn", "skops"}
    assert summary.parameters["notes"] == [
        "column 'Id' is not used",
        "1 row without a label left out",
        "5 missing values are replaced by the feature's median over the training rows",
    ]
    assert run.told.notes == [f"{run.data}: {note}" for note in summary.parameters["notes"]]
    assert summary.seconds > 0


def test_six_candidates_are_compared_and_the_chosen_one_is_the_written_one(run: Run) -> None:
    summary, pipeline = run.summary, run.pipeline
    assert [c["classifier"] for c in summary.candidates] == [
        "Logistic regression",
        "Support vector machine",
        "k nearest neighbours",
        "Decision tree",
        "Random forest",
        "Neural network",
    ]
    assert run.told.tasks[0] == ("comparing classifiers", 6)
    (chosen,) = [c for c in summary.candidates if c["chosen"]]
    assert summary.parameters["classifier"] == chosen["classifier"]
    best = max(summary.candidates, key=lambda c: (c["cv_accuracy"], -c["cv_log_loss"]))
    assert chosen["cv_accuracy"] >= best["cv_accuracy"] - best["cv_standard_error"]
    assert chosen["classifier"] in summary.parameters["reason"]
    assert list(pipeline.named_steps) == ["impute", "scale", "model"]
    assert type(pipeline.named_steps["scale"]).__name__ == summary.parameters["scaler"]
    assert pipeline.classes_.tolist() == [0, 1, 2]


def test_metrics_are_those_of_the_written_model_on_the_written_samples(run: Run) -> None:
    metrics = run.summary.metrics
    with np.load(run.folder / "samples.npz") as samples:
        inputs, targets = samples["inputs"], samples["targets"]
    assert (inputs.dtype, inputs.shape) == (np.float32, (30, 4))
    assert (targets.dtype, targets.shape) == (np.int64, (30,))
    predicted = run.pipeline.predict(inputs)
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (targets, predicted), 1)
    assert confusion.tolist() == [list(row) for row in metrics.confusion]
    assert metrics.accuracy == pytest.approx(np.trace(confusion) / 30)
    assert metrics.accuracy >= 0.9
    assert [metrics.per_class[name].support for name in NAMES] == confusion.sum(axis=1).tolist()
    assert metrics.recall == pytest.approx(np.mean([m.recall for m in metrics.per_class.values()]))


def test_probabilities_of_float32_rows_lie_within_the_cards_tolerance(run: Run) -> None:
    with np.load(run.folder / "samples.npz") as samples:
        inputs = samples["inputs"]
    single = run.pipeline.predict_proba(inputs)
    exact = run.pipeline.predict_proba(inputs.astype(np.float64))
    tolerance = card("iris").tolerance
    assert (np.abs(single - exact) <= tolerance.absolute + tolerance.relative * np.abs(exact)).all()


def test_the_baseline_counts_every_training_row_and_every_prediction(run: Run) -> None:
    baseline = run.summary.baseline
    features = [feature for feature in baseline.features if isinstance(feature, NumericBaseline)]
    assert [feature.name for feature in features] == [feature.name for feature in card("iris").inputs]
    for feature in features:
        assert feature.count + feature.missing == run.summary.rows_train
        assert sum(feature.counts) == feature.count
        assert feature.minimum <= feature.quantiles["p50"] <= feature.maximum
    with np.load(run.folder / "samples.npz") as samples:
        held_out = int(np.isnan(samples["inputs"]).sum())
    assert sum(feature.missing for feature in features) + held_out == len(GAPS)
    assert isinstance(baseline.predictions, CategoryBaseline)
    columns = np.array(run.summary.metrics.confusion).sum(axis=0).tolist()
    assert baseline.predictions.counts == {name: n for name, n in zip(NAMES, columns, strict=True) if n}


def test_the_report_shows_every_picture_and_fetches_nothing(run: Run) -> None:
    report = Report(run.folder / "report.html")
    assert report.fetched == []
    for picture in ("Confusion matrix", "Scatter matrix", "Box plots", "Correlation", "Decision boundaries"):
        assert any(alt.startswith(picture) for alt in report.alts), picture
    assert len(report.alts) == 7
    assert run.summary.parameters["reason"] in report.words
    assert run.summary.data_sha256 in report.words
    assert "1 row without a label left out." in report.words


def test_the_summary_is_plain_json(run: Run) -> None:
    text = (run.folder / "summary.json").read_text()
    assert json.loads(text)["metrics"]["confusion"] == [list(row) for row in run.summary.metrics.confusion]
    assert "NaN" not in text
