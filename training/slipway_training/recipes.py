"""The recipes there are, and how one is run."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import MissingExtra, TrainingFailed
from slipway_core.summary import TrainingSummary
from slipway_core.tensors import Array
from slipway_training.artifacts import Staging, staged
from slipway_training.progress import ConsoleProgress, Progress

SUMMARY_FILE = "summary.json"
SAMPLES_FILE = "samples.npz"
REPORT_FILE = "report.html"
LARGEST_SEED = 2**32 - 1

# What a person installs for a module of another name.
_PACKAGES = {"sklearn": "scikit-learn", "jinja2": "Jinja2"}


@dataclass(frozen=True)
class Job:
    """What a recipe is asked to do. ``data`` is None for the recipe's own data."""

    recipe: str
    card: ModelCard
    data: Path | None
    seed: int
    progress: Progress

    def refused(self, reason: str) -> TrainingFailed:
        """The error that says why this job cannot be done."""
        return TrainingFailed(self.recipe, reason)


@dataclass(frozen=True)
class Trained:
    """What a recipe ends in. ``samples`` and ``targets`` are the held-out set, in the form the served model takes.

    The summary's ``seconds`` is filled in by :func:`train`.
    """

    model_file: str
    model: bytes
    samples: Array
    targets: Array
    report: str
    summary: TrainingSummary


@dataclass(frozen=True)
class Recipe:
    """A way to train one kind of model; ``module`` is imported when it is first run and holds ``run(job)``."""

    name: str
    description: str
    module: str

    def load(self) -> Callable[[Job], Trained]:
        """Import the recipe. Raises :class:`MissingExtra` when a library it needs is not installed."""
        try:
            run = importlib.import_module(self.module).run
        except ModuleNotFoundError as e:
            missing = (e.name or "").partition(".")[0]
            if missing.startswith("slipway"):
                raise
            raise MissingExtra("training", _PACKAGES.get(missing, missing), "train") from e
        return cast(Callable[[Job], Trained], run)


RECIPES = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            Recipe(
                "iris",
                "six tabular classifiers compared on four measurements of iris flowers; takes a CSV",
                "slipway_training.iris.recipe",
            ),
            Recipe(
                "digits",
                "a small convolutional net on 1,797 handwritten digits of 8 x 8 pixels",
                "slipway_training.digits.recipe",
            ),
        )
    }
)


def train(
    card: ModelCard,
    *,
    out: Path,
    data: Path | None = None,
    seed: int = 42,
    recipe: str | None = None,
    progress: Progress | None = None,
) -> TrainingSummary:
    """Train the card's model and leave model, samples, summary and report in the folder ``out``.

    The recipe is the one named like the card, or ``recipe``. ``data`` replaces the recipe's own data where the
    recipe allows it. Progress goes to standard error unless ``progress`` says otherwise. The same card, data, seed
    and library versions give the same model and the same summary, apart from its ``seconds``.

    All files appear together at the end; a run that fails or is killed leaves earlier ones as they were. Raises
    :class:`TrainingFailed`, or :class:`MissingExtra` when the extra ``train`` is not installed.
    """
    started = time.perf_counter()
    chosen = _recipe(recipe or card.name)
    if not 0 <= seed <= LARGEST_SEED:
        raise TrainingFailed(chosen.name, f"the seed must lie in 0..{LARGEST_SEED}, got {seed}")
    run = chosen.load()
    with _shown(progress) as shown, staged(out, chosen.name) as staging:
        trained = run(Job(chosen.name, card, data, seed, shown))
        summary = trained.summary.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
        _write(trained, summary, staging)
    return summary


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise TrainingFailed(name, f"there is no such recipe; there are: {', '.join(RECIPES)}")
    return RECIPES[name]


@contextmanager
def _shown(progress: Progress | None) -> Generator[Progress]:
    if progress is not None:
        yield progress
        return
    with ConsoleProgress() as console:
        yield console


def _write(trained: Trained, summary: TrainingSummary, staging: Staging) -> None:
    # Each file is made in memory first, so that a full disk is met in one place and as an OSError.
    samples = io.BytesIO()
    np.savez_compressed(samples, inputs=trained.samples, targets=trained.targets.astype(np.int64))
    staging.write(trained.model_file, trained.model)
    staging.write(SAMPLES_FILE, samples.getvalue())
    staging.write(REPORT_FILE, trained.report.encode())
    staging.write(SUMMARY_FILE, (summary.model_dump_json(indent=2) + "\n").encode())
