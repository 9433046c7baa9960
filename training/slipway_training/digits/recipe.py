"""From images to ``model.pt2``: split, fit, export, evaluate what was exported, report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from slipway_core.baseline import Baseline, category_baseline, image_statistics, numeric_baseline
from slipway_core.images import ImageSpec, normalised
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training.digits import figures
from slipway_training.digits.augment import Augmentation, augmented
from slipway_training.digits.fit import Fitted, Images, Settings, fit, reproducible
from slipway_training.digits.images import CLASSES, SIZE, Digits, load
from slipway_training.digits.net import parameter_count
from slipway_training.digits.pt2_file import BatchNotDynamic, logits_of, pt2_bytes
from slipway_training.evaluation import library_versions, metrics_of, split_off
from slipway_training.recipes import Job, Trained
from slipway_training.report import Picture, Section, drawing, evaluation_section, render

HELD_OUT = 0.2
VALIDATION = 0.1
MODEL_FILE = "model.pt2"
_ORIGINALS_SHOWN = 8


@dataclass(frozen=True)
class _Split:
    """Rows to fit on, to stop by, and to evaluate on."""

    train: Array
    validation: Array
    test: Array


def run(job: Job) -> Trained:
    """Train digits. Raises :class:`TrainingFailed` for a card or data that the recipe cannot use."""
    spec = _checked_spec(job)
    digits = load(job)
    split = _split(digits.targets, job.seed)
    inputs = torch.from_numpy(normalised(digits.images, spec))
    how = Settings()
    with reproducible(job.seed):
        fitted = fit(
            _images(inputs, digits, split.train),
            _images(inputs, digits, split.validation),
            tones(spec),
            how,
            job.seed,
            job.progress,
        )
        job.progress.begin("exporting the net and drawing the report", 1)
        try:
            model = pt2_bytes(fitted.net, inputs[split.test])
        except BatchNotDynamic as e:
            raise job.refused(str(e)) from e
        # What is evaluated is what was exported, not the net it came from.
        probabilities = logits_of(model, inputs[split.test]).softmax(dim=1).numpy()
        summary = _summary(job, digits, split, probabilities, fitted, how)
        report = _report(job, digits, split, probabilities, fitted, summary)
        job.progress.step()
        job.progress.end()
    return Trained(MODEL_FILE, model, digits.images[split.test], digits.targets[split.test], report, summary)


def tones(spec: ImageSpec) -> tuple[float, float]:
    """The normalised values of a black and of a white pixel."""
    pixels = np.array([0, 255], dtype=np.uint8).reshape(2, 1, 1, 1)
    black, white = normalised(pixels, spec).reshape(-1).tolist()
    return black, white


def _checked_spec(job: Job) -> ImageSpec:
    card, spec = job.card, job.card.image
    wanted = f"{SIZE} x {SIZE} x 1"
    if spec is None:
        raise job.refused(f"the card needs an [image] of {wanted}")
    if spec.shape != (SIZE, SIZE, 1):
        raise job.refused(f"the card's image is {' x '.join(map(str, spec.shape))}, the recipe's are {wanted}")
    if card.task != "classification" or len(card.output.labels) != CLASSES:
        raise job.refused(f"the card must be a classification with {CLASSES} labels, one for each digit from 0")
    if card.source.kind != "torch" or card.source.output not in (None, "logits"):
        raise job.refused("the card must have source.kind = 'torch' and source.output = 'logits'")
    return spec


def _split(targets: Array, seed: int) -> _Split:
    rest, test = split_off(np.arange(len(targets)), targets, HELD_OUT, seed)
    train, validation = split_off(rest, targets, VALIDATION, seed)
    return _Split(train, validation, test)


def _images(inputs: torch.Tensor, digits: Digits, rows: Array) -> Images:
    return Images(inputs[torch.from_numpy(rows)], torch.from_numpy(digits.targets[rows]))


def _summary(
    job: Job, digits: Digits, split: _Split, probabilities: Array, fitted: Fitted, how: Settings
) -> TrainingSummary:
    labels = job.card.output.labels
    predicted = probabilities.argmax(axis=1)
    # 64 pixels one by one say little about drift; brightness, contrast and ink move when images come out different.
    statistics = image_statistics(digits.images[split.train])
    return TrainingSummary(
        recipe=job.recipe,
        model=job.card.name,
        seed=job.seed,
        data=digits.source,
        data_sha256=digits.sha256,
        rows_train=len(split.train) + len(split.validation),
        rows_test=len(split.test),
        labels=labels,
        parameters=_parameters(fitted, how),
        metrics=metrics_of(labels, digits.targets[split.test], predicted),
        libraries=library_versions("numpy", "scikit-learn", "torch"),
        baseline=Baseline(
            features=tuple(numeric_baseline(name, values) for name, values in statistics.items()),
            predictions=category_baseline("label", [labels[index] for index in predicted.tolist()]),
        ),
        seconds=0.0,
    )


def _parameters(fitted: Fitted, how: Settings) -> dict[str, Any]:
    return {
        **dataclasses.asdict(how),
        "weights": parameter_count(fitted.net),
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "validation": VALIDATION,
        "held_out": HELD_OUT,
        "history": [dataclasses.asdict(epoch) for epoch in fitted.history],
    }


def _report(
    job: Job, digits: Digits, split: _Split, probabilities: Array, fitted: Fitted, summary: TrainingSummary
) -> str:
    labels = job.card.output.labels
    test_images, test_targets = digits.images[split.test], digits.targets[split.test]
    text = [
        f"A net of four convolutions and two dense layers, {parameter_count(fitted.net):,} weights, trained on "
        f"{len(split.train):,} images; {len(split.validation)} more decided when to stop. Kept is a running average "
        "of the weights, which is steadier than any single step."
    ]
    changed = "Every batch is drawn anew: turned, shifted, resized, brightened or dimmed, and with noise."
    with drawing():
        hardest = figures.mistakes(test_images, test_targets, probabilities, labels)
        sections = [
            evaluation_section(labels, summary.metrics),
            Section("How it learnt", text, pictures=[figures.learning_curves(fitted)]),
            Section("The hardest images", pictures=[hardest]),
            Section("What it learnt from", [changed], pictures=[_examples(job, digits, split)]),
        ]
    return render(summary, job.card.description or "Training report", sections)


def _examples(job: Job, digits: Digits, split: _Split) -> Picture:
    """Eight training images, and below each two of its changed copies."""
    assert job.card.image is not None
    rows = split.train[:_ORIGINALS_SHOWN]
    inputs = torch.from_numpy(normalised(digits.images[rows], job.card.image))
    black, white = tones(job.card.image)
    generator = torch.Generator().manual_seed(job.seed)
    copies = [augmented(inputs, Augmentation(), generator, black, white) for _ in range(2)]
    pixels = ((torch.cat([inputs, *copies]) - black) / (white - black) * 255).round().numpy()[:, 0]
    titles = [f"a {job.card.output.labels[target]}" for target in digits.targets[rows]]
    titles += [""] * 2 * len(rows)
    caption = "Training images (top row) and below each two changed copies, of the kind that the net is shown."
    return figures.image_rows(pixels, titles, [False] * len(titles), caption)
