"""From measurements to ``model.skops``: split, compare, choose, refit, evaluate, report."""

from __future__ import annotations

from typing import Any

import numpy as np

from slipway_core.baseline import Baseline, category_baseline, numeric_baseline
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training.evaluation import library_versions, metrics_of, split_off
from slipway_training.iris.candidates import FOLDS, Candidate, Choice, choose, compare
from slipway_training.iris.flower_report import report_of
from slipway_training.iris.measurements import FEATURES, Measurements, load
from slipway_training.iris.skops_file import skops_bytes
from slipway_training.recipes import Job, Trained

HELD_OUT = 0.2
MODEL_FILE = "model.skops"


def run(job: Job) -> Trained:
    """Train iris. Raises :class:`TrainingFailed` for a card or data that the recipe cannot use."""
    _check_card(job)
    rows = load(job)
    for note in rows.notes:
        job.progress.note(f"{rows.source}: {note}")
    train, test = split_off(np.arange(len(rows.targets)), rows.targets, HELD_OUT, job.seed)
    choice = choose(compare(rows.inputs[train], rows.targets[train], job.seed, job.progress))
    predicted = choice.chosen.pipeline.predict(rows.inputs[test])
    summary = _summary(job, rows, (train, test), predicted, choice)
    job.progress.begin("drawing the report", 1)
    report = report_of(job.card, rows, test, summary, choice)
    job.progress.step()
    job.progress.end()
    return Trained(
        model_file=MODEL_FILE,
        model=skops_bytes(choice.chosen.pipeline),
        samples=rows.inputs[test].astype(np.float32),
        targets=rows.targets[test],
        report=report,
        summary=summary,
    )


def _check_card(job: Job) -> None:
    card = job.card
    names = tuple(feature.name for feature in card.inputs)
    if card.task != "classification" or card.source.kind != "sklearn":
        raise job.refused("the card must have task = 'classification' and source.kind = 'sklearn'")
    if sorted(names) != sorted(FEATURES):
        raise job.refused(f"the card's inputs must be {', '.join(FEATURES)} in any order, not {', '.join(names)}")


def _summary(
    job: Job, rows: Measurements, split: tuple[Array, Array], predicted: Array, choice: Choice
) -> TrainingSummary:
    train, test = split
    labels = job.card.output.labels
    features = [numeric_baseline(feature.name, rows.inputs[train, at]) for at, feature in enumerate(job.card.inputs)]
    predictions = category_baseline("label", [labels[index] for index in predicted.tolist()])
    return TrainingSummary(
        recipe=job.recipe,
        model=job.card.name,
        seed=job.seed,
        data=rows.source,
        data_sha256=rows.sha256,
        rows_train=len(train),
        rows_test=len(test),
        labels=labels,
        parameters=_parameters(rows, choice),
        metrics=metrics_of(labels, rows.targets[test], predicted),
        candidates=tuple(_as_json(candidate, choice) for candidate in choice.candidates),
        libraries=library_versions("numpy", "scipy", "scikit-learn", "skops"),
        baseline=Baseline(features=tuple(features), predictions=predictions),
        seconds=0.0,
    )


def _parameters(rows: Measurements, choice: Choice) -> dict[str, Any]:
    return {
        "classifier": choice.chosen.name,
        **choice.chosen.parameters,
        "imputer": "median",
        "folds": FOLDS,
        "held_out": HELD_OUT,
        "reason": choice.reason,
        "notes": list(rows.notes),
    }


def _as_json(candidate: Candidate, choice: Choice) -> dict[str, Any]:
    return {
        "classifier": candidate.name,
        "chosen": candidate is choice.chosen,
        "settings_tried": candidate.tried,
        "parameters": candidate.parameters,
        "cv_accuracy": candidate.accuracy,
        "cv_standard_error": candidate.error,
        "cv_log_loss": candidate.log_loss,
        "fold_accuracies": list(candidate.fold_accuracies),
    }
