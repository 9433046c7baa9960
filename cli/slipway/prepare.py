"""What ``slipway up`` does before it starts anything: train and export what is missing, and nothing twice.

The work is done by the verbs themselves, ``slipway train`` and ``slipway export``, one process a model and side by
side: the libraries they need (torch alone is several hundred megabytes) are gone again when the server runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer

from slipway import show
from slipway.child import start_child
from slipway.places import CARD_FOLDERS, shipped_cards
from slipway_core.card import ModelCard
from slipway_core.layout import ModelDirectory


def cards_here() -> dict[Path, ModelCard]:
    """The cards of the working directory by file, or the examples where it has none."""
    for folder in (*CARD_FOLDERS, shipped_cards()):
        found = sorted(folder.glob("*.toml")) if folder.is_dir() else []
        if found:
            return {path: ModelCard.from_toml(path) for path in found}
    return {}


def prepare(cards: dict[Path, ModelCard], repository: Path) -> None:
    """Make sure that a version of every model is published and live.

    A published model whose source is gone stays as it is. Leaves the command with the verb's exit code when one
    fails; its line has been shown then.
    """
    from slipway_export import activate

    missing = {path: card for path, card in cards.items() if not _is_prepared(card, repository)}
    if not missing:
        return
    with ThreadPoolExecutor(len(missing)) as pool:
        codes = list(pool.map(_make, missing, missing.values(), [repository] * len(missing)))
    if any(codes):
        raise typer.Exit(max(codes))
    for card in missing.values():
        # Nothing runs yet that could be disturbed: what was just proven is what `up` serves.
        activate(repository, card.name, ModelDirectory(repository, card.name).versions()[-1])


def _is_prepared(card: ModelCard, repository: Path) -> bool:
    from slipway_export import is_current

    published = ModelDirectory(repository, card.name).versions()
    return bool(published) and (not card.source.path.is_file() or is_current(card, repository))


def _make(path: Path, card: ModelCard, repository: Path) -> int:
    """Run the verbs for one model; the first exit code that is not 0, or 0."""
    verbs = [["export", str(path), "--repository", str(repository)]]
    if not card.source.path.is_file() and _has_recipe(card):
        verbs.insert(0, ["train", str(path)])
    return next((code for verb in verbs if (code := _run(card.name, verb))), 0)


def _has_recipe(card: ModelCard) -> bool:
    from slipway_training import RECIPES

    return card.name in RECIPES


def _run(model: str, verb: Sequence[str]) -> int:
    child = start_child([sys.executable, "-m", "slipway", *verb], piped=True)
    for line in child.stdout or ():
        show.line(f"{model} | {line.rstrip()}")
    return child.wait()
