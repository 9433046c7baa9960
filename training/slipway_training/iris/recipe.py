"""From measurements to ``model.skops``: split, compare, choose, refit, evaluate, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway_core.baseline import Baseline, category_baseline, numeric_baseline
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training.evaluation import library_versions, metrics_of, split_off
from slipway_training.iris import figures
from slipway_training.iris.candidates import FOLDS, Candidate, Choice, choose, compare
from slipway_training.iris.measurements import FEATURES, Measurements, load
from slipway_training.iris.skops_file import skops_bytes
from slipway_training.recipes import Job, Trained
from slipway_training.report import Section, Table, drawing, evaluation_section, render

HELD_OUT = 0.2
MODEL_FILE = "model.skops"


def run(job: Job) -> Trained:
    """Train iris. Raises :class:`TrainingFailed` for a card or data that the recipe cannot use."""
    _check_card(job)
    rows = load(job)
    for note in rows.notes:
        job.progress.note(f"{rows.source}: {note}")
    train, test = split_off(np.arange(len(rows.targets)), rows.targets, HELD_OUT, job.seed)
    candidates = compare(rows.inputs[train], rows.targets[train], job.seed, job.progress)
    choice = choose(candidates)
    predicted = choice.chosen.pipeline.predict(rows.inputs[test])
    summary = _summary(job, rows, (train, test), predicted, candidates, choice)
    job.progress.begin("drawing the report", 1)
    report = _report(job, rows, test, summary, candidates, choice)
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
    job: Job,
    rows: Measurements,
    split: tuple[Array, Array],
    predicted: Array,
    candidates: Sequence[Candidate],
    choice: Choice,
) -> TrainingSummary:
    train, test = split
    labels = job.card.output.labels
    features = [numeric_baseline(feature.name, rows.inputs[train, at]) for at, feature in enumerate(job.card.inputs)]
    return TrainingSummary(
        recipe=job.recipe,
        model=job.card.name,
        seed=job.seed,
        data=rows.source,
        data_sha256=rows.sha256,
        rows_train=len(train),
        rows_test=len(test),
        labels=labels,
        parameters={
            "classifier": choice.chosen.name,
            **choice.chosen.parameters,
            "imputer": "median",
            "folds": FOLDS,
            "held_out": HELD_OUT,
            "reason": choice.reason,
            "notes": list(rows.notes),
        },
        metrics=metrics_of(labels, rows.targets[test], predicted),
        candidates=tuple(_as_json(candidate, choice) for candidate in candidates),
        libraries=library_versions("numpy", "scipy", "scikit-learn", "skops"),
        baseline=Baseline(
            features=tuple(features),
            predictions=category_baseline("label", [labels[index] for index in predicted.tolist()]),
        ),
        seconds=0.0,
    )


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


def _report(
    job: Job,
    rows: Measurements,
    test: Array,
    summary: TrainingSummary,
    candidates: Sequence[Candidate],
    choice: Choice,
) -> str:
    card = job.card
    flowers = figures.Flowers(
        inputs=rows.inputs,
        targets=rows.targets,
        held_out=np.isin(np.arange(len(rows.targets)), test),
        features=tuple(feature.name for feature in card.inputs),
        axis_labels=tuple(
            feature.name.replace("_", " ") + (f" ({feature.unit})" if feature.unit else "") for feature in card.inputs
        ),
        labels=card.output.labels,
    )
    with drawing():
        sections = [
            evaluation_section(card.output.labels, summary.metrics),
            Section(
                "Why this model",
                [choice.reason, f"Its settings: {_settings(choice.chosen)}."],
                [_candidates_table(candidates, choice)],
                [figures.comparison(choice, candidates)],
            ),
            Section(
                "Where it draws the line",
                pictures=[figures.chosen_boundaries(flowers, choice), figures.all_boundaries(flowers, candidates)],
            ),
            Section(
                "The data",
                [f"{note[0].upper()}{note[1:]}." for note in rows.notes],
                [_features_table(flowers)],
                [figures.scatter_matrix(flowers), figures.box_plots(flowers), figures.correlation_heat_map(flowers)],
            ),
        ]
    return render(summary, card.description or "Training report", sections)


def _candidates_table(candidates: Sequence[Candidate], choice: Choice) -> Table:
    rows = [
        [c.name, f"{c.accuracy:.4f}", f"{c.error:.4f}", f"{c.log_loss:.4f}", str(c.tried), _settings(c)]
        for c in candidates
    ]
    header = ("classifier", "CV accuracy", "std. error", "log loss", "settings tried", "best settings")
    return Table(header, rows, marked=candidates.index(choice.chosen), words=[5])


def _settings(candidate: Candidate) -> str:
    return ", ".join(f"{name} = {value}" for name, value in candidate.parameters.items())


def _features_table(flowers: figures.Flowers) -> Table:
    rows: list[list[str]] = []
    for at, name in enumerate(flowers.axis_labels):
        column = flowers.inputs[:, at]
        present = column[~np.isnan(column)]
        numbers = (present.mean(), present.std(), present.min(), np.median(present), present.max())
        rows.append([name, *(f"{number:.2f}" for number in numbers), str(len(column) - len(present))])
    return Table(("feature", "mean", "std", "min", "median", "max", "missing"), rows)
