"""Which of the compared classifiers is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from slipway_training.iris.candidates import Candidate, Family, choose, families
from slipway_training.iris.skops_file import skops_bytes


def candidate(name: str, accuracy: float, error: float = 0.01, log_loss: float = 0.1) -> Candidate:
    return Candidate(
        name, Pipeline([("model", LogisticRegression())]), {}, 1, (accuracy,) * 5, accuracy, error, log_loss
    )


def test_of_those_within_the_noise_of_the_best_the_simplest_is_taken() -> None:
    choice = choose([candidate("simple", 0.95), candidate("middle", 0.965), candidate("big", 0.97)])
    assert (choice.chosen.name, choice.best.name) == ("middle", "big")
    assert choice.reason == (
        "big has the best cross-validated accuracy, 0.9700 with a standard error of 0.0100; middle reaches 0.9650, "
        "which is within that noise, and is the simplest that does."
    )


def test_one_that_is_better_beyond_the_noise_is_taken() -> None:
    choice = choose([candidate("simple", 0.90), candidate("big", 0.97)])
    assert choice.chosen.name == "big"
    assert choice.reason.startswith("big has the best cross-validated accuracy, 0.9700, and none that is simpler")


def test_of_equally_accurate_ones_the_better_calibrated_counts_as_best() -> None:
    choice = choose([candidate("sure", 0.97, log_loss=1.2), candidate("calibrated", 0.97, log_loss=0.1)])
    assert (choice.chosen.name, choice.best.name) == ("sure", "calibrated")


@pytest.mark.parametrize("family", families(7), ids=lambda family: family.name)
def test_every_family_gives_probabilities_of_float32_rows_with_gaps(family: Family) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4)).astype(np.float32).astype(np.float64)
    targets = np.arange(60) % 3
    inputs[:, 0] += 3 * targets
    inputs[::7, 1] = np.nan
    pipeline = family.pipeline().fit(inputs, targets)
    exact, single = pipeline.predict_proba(inputs), pipeline.predict_proba(inputs.astype(np.float32))
    assert (np.abs(single - exact) <= 1e-5 + 1e-4 * np.abs(exact)).all()
    assert pipeline.classes_.tolist() == [0, 1, 2]
    assert (pipeline.predict(inputs) == targets).mean() > 0.8


def test_a_skops_files_bytes_depend_on_the_model_alone() -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(40, 3)), np.arange(40) % 2

    def fitted(c: float) -> Any:
        return Pipeline([("model", LogisticRegression(C=c))]).fit(inputs, targets)

    first, second, other = skops_bytes(fitted(1.0)), skops_bytes(fitted(1.0)), skops_bytes(fitted(2.0))
    assert first == second
    assert first != other
    loaded = skops.io.loads(first, trusted=[])
    assert (loaded.predict_proba(inputs) == fitted(1.0).predict_proba(inputs)).all()
