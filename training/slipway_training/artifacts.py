"""How the files of a run reach ``artifacts/<model>/``: all together, at the end, or not at all.

A run writes into the hidden folder ``.<model>.partial`` beside its target. When every file is there and on disk,
that folder is renamed to ``.<model>.complete`` and its files are moved into place, one rename each. A run that is
killed before leaves the earlier files as they were; one that is killed between the last renames is finished by the
next run. Files that are not a run's own are never touched.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slipway_core.errors import TrainingFailed


@dataclass(frozen=True)
class Staging:
    """The folder a run writes into. Whatever cannot be written is a :class:`TrainingFailed` of one line."""

    recipe: str
    target: Path
    path: Path

    def write(self, name: str, content: bytes) -> None:
        """Write one file and wait until it is on disk."""
        with _told_once(self.recipe, self.target), (self.path / name).open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())


@contextmanager
def staged(target: Path, recipe: str) -> Generator[Staging]:
    """A staging folder whose files appear in ``target`` when the block ends without an error.

    Raises :class:`TrainingFailed` when ``target`` cannot be written (at once, before any training) or when another
    run is writing it.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  (keeps a symbolic link as the user named it)
    partial = target.with_name(f".{target.name}.partial")
    complete = target.with_name(f".{target.name}.complete")
    with _told_once(recipe, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(None, "it is a file, not a folder")
    with _only_run(target, recipe):
        with _told_once(recipe, target):
            _land(complete, target)
            _discard(partial)
            partial.mkdir()
        try:
            yield Staging(recipe, target, partial)
            with _told_once(recipe, target):
                partial.rename(complete)
                _land(complete, target)
        finally:
            with suppress(OSError):
                _discard(partial)


@contextmanager
def _told_once(recipe: str, target: Path) -> Generator[None]:
    try:
        yield
    except OSError as e:
        raise TrainingFailed(recipe, f"{target} cannot be written ({e.strerror or e})") from e


@contextmanager
def _only_run(target: Path, recipe: str) -> Generator[None]:
    """Hold the target's lock; the system drops it with the process, however that ends."""
    with _told_once(recipe, target):
        lock = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingFailed(recipe, f"another run is writing {target}; wait for it to end") from None
        yield
    finally:
        os.close(lock)


def _land(complete: Path, target: Path) -> None:
    """Move a complete run into place; also finishes what a killed run had begun to move."""
    if not complete.is_dir():
        return
    target.mkdir(exist_ok=True)
    for file in sorted(complete.iterdir()):
        file.replace(target / file.name)
    complete.rmdir()


def _discard(folder: Path) -> None:
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
