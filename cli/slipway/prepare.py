"""What ``slipway up`` does before it starts anything: train and export what is missing, and nothing twice."""

from __future__ import annotations

from pathlib import Path

from slipway import show
from slipway.export import lines
from slipway.places import CARD_FOLDERS, shipped_cards
from slipway.train import run_recipe
from slipway_core.card import ModelCard
from slipway_core.layout import ModelDirectory


def cards_here() -> list[ModelCard]:
    """The cards of the working directory, or the examples where it has none."""
    for folder in (*CARD_FOLDERS, shipped_cards()):
        found = sorted(folder.glob("*.toml")) if folder.is_dir() else []
        if found:
            return [ModelCard.from_toml(path) for path in found]
    return []


def prepare(card: ModelCard, repository: Path) -> None:
    """Make sure that a version of the model is published; a published one without its source stays as it is."""
    from slipway_export import is_current

    has_source = card.source.path.is_file()
    published = ModelDirectory(repository, card.name).versions()
    if published and (not has_source or is_current(card, repository)):
        return
    if not has_source:
        _train(card)
    _export(card, repository)


def _train(card: ModelCard) -> None:
    import slipway_training

    if card.name not in slipway_training.RECIPES:
        return  # export says what is missing and where it belongs
    show.note(f"training {card.name}")
    summary = run_recipe(card)
    show.line(f"{card.name}: accuracy {summary.metrics.accuracy:.4f} on {summary.rows_test} held-out rows")


def _export(card: ModelCard, repository: Path) -> None:
    import slipway_export

    show.note(f"exporting {card.name}")
    published = slipway_export.export(card, repository=repository, progress=show.progress)
    if not published.live:
        # Nothing runs yet that could be disturbed: what was just proven is what `up` serves.
        slipway_export.activate(repository, published.model, published.version)
    for text in lines(published):
        show.line(text)
