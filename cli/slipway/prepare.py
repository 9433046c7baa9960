"""What ``slipway up`` does before it starts anything: train and export what is missing, and nothing twice.

The work is done by the verbs themselves, ``slipway train`` and ``slipway export``, one process a model and side by
side: the libraries they need (torch alone is several hundred megabytes) are gone again when the server runs.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer

from slipway import show
from slipway.child import start_child
from slipway.places import CARD_FOLDERS, shipped_cards
from slipway_core.card import ModelCard
from slipway_core.layout import ModelDirectory

STOP_TIMEOUT_S = 5.0
_LOCK = "slipway up"  # beside those of the models, none of which has a blank in its name


def cards_here() -> dict[Path, ModelCard]:
    """The cards of the working directory by file, or the examples where it has none."""
    for folder in (*CARD_FOLDERS, shipped_cards()):
        found = sorted(folder.glob("*.toml")) if folder.is_dir() else []
        if found:
            return {path: ModelCard.from_toml(path) for path in found}
    return {}


def prepare(cards: dict[Path, ModelCard], repository: Path) -> None:
    """Make sure that a version of every model is published and live; waits for another command that is about it.

    A published model whose source is gone stays as it is. Leaves the command with the verb's exit code when one
    fails; its line has been shown then. An interruption stops the verbs, which undo what they had begun.
    """
    from slipway_export.durable import locked

    if not _missing(cards, repository):
        return
    with locked(repository, _LOCK, _tell_waiting):
        _make_all(_missing(cards, repository), repository)


def _tell_waiting() -> None:
    show.note("waiting for another `slipway up` that trains and exports for this repository")


def _missing(cards: dict[Path, ModelCard], repository: Path) -> dict[Path, ModelCard]:
    return {path: card for path, card in cards.items() if not _is_prepared(card, repository)}


def _make_all(missing: dict[Path, ModelCard], repository: Path) -> None:
    from slipway_export import activate

    if not missing:
        return
    verbs = _Verbs()
    with ThreadPoolExecutor(len(missing)) as pool:
        try:
            made = [pool.submit(_make, verbs, path, card, repository) for path, card in missing.items()]
            codes = [one.result() for one in made]
        except BaseException:
            verbs.stop()
            raise
    if any(codes):
        raise typer.Exit(max(codes))
    for card in missing.values():
        # Nothing runs yet that could be disturbed: what was just proven is what `up` serves.
        activate(repository, card.name, ModelDirectory(repository, card.name).versions()[-1])


def _is_prepared(card: ModelCard, repository: Path) -> bool:
    from slipway_export import is_current

    published = ModelDirectory(repository, card.name).versions()
    return bool(published) and (_is_absent(card) or is_current(card, repository))


def _make(verbs: _Verbs, path: Path, card: ModelCard, repository: Path) -> int:
    """Run the verbs for one model; the first exit code that is not 0, or 0."""
    needed = [["export", str(path), "--repository", str(repository)]]
    if _is_absent(card) and _has_recipe(card):
        needed.insert(0, ["train", str(path)])
    return next((code for verb in needed if (code := verbs.run(card.name, verb))), 0)


def _is_absent(card: ModelCard) -> bool:
    return card.source.path is not None and not card.source.path.is_file()


def _has_recipe(card: ModelCard) -> bool:
    from slipway_training import RECIPES

    return card.name in RECIPES


class _Verbs:
    """Verbs of slipway in processes of their own, any number at a time, until they are stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._stopped = False

    def run(self, model: str, verb: Sequence[str]) -> int:
        """The verb's exit code; its lines are shown under the model's name. 1 for one that was killed."""
        with self._lock:
            if self._stopped:
                return 1
            # Not the terminal's group: Ctrl-C reaches `slipway up` alone, which stops the verbs.
            child = start_child([sys.executable, "-m", "slipway", *verb], piped=True, own_group=True)
            self._running.append(child)
        for line in child.stdout or ():
            show.line(f"{model} | {line.rstrip()}")
        code = child.wait()
        if code < 0 and not self._stopped:
            show.line(f"{model} | `slipway {verb[0]}` was killed ({signal.Signals(-code).name})")
        return code if code >= 0 else 1

    def stop(self) -> None:
        """End those that run, at the latest after ``STOP_TIMEOUT_S``, and start no other."""
        with self._lock:
            self._stopped = True
        for child in self._running:
            child.terminate()
        for child in self._running:
            try:
                child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
