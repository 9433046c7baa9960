"""``slipway train``: run a recipe; it ends in files under ``artifacts/``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway import show
from slipway.places import JsonOption, card_named
from slipway_core.card import ModelCard
from slipway_core.summary import TrainingSummary

DEFAULT_SEED = 42


def train(
    model: Annotated[str, typer.Argument(help="The model's name, or a path to its card.")],
    data: Annotated[Path | None, typer.Option(help="Train on this file instead of the recipe's own data.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = DEFAULT_SEED,
    json_: JsonOption = False,
) -> None:
    """Train a model by its recipe and write the model, samples, summary and a report."""
    card = card_named(model)
    summary = run_recipe(card, data=data, seed=seed)
    if json_:
        show.as_json(summary.model_dump(mode="json"))
        return
    folder = card.source.file.parent
    show.line(f"{card.name}: accuracy {summary.metrics.accuracy:.4f} on {summary.rows_test} held-out rows")
    show.line(f"files: {folder}/  report: {folder / 'report.html'}")


def run_recipe(card: ModelCard, *, data: Path | None = None, seed: int = DEFAULT_SEED) -> TrainingSummary:
    """Train ``card``'s model into the folder that its ``source.path`` names, with progress on stderr."""
    import slipway_training

    return slipway_training.train(card, out=card.source.file.parent, data=data, seed=seed)
