"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Triton takes every directory of a repository for a model, names with a dot included, but inside a model's directory
# it passes over names that are no number. So staging lies there: on the same file system, where a rename is atomic.
STAGING = ".publishing"


@contextmanager
def locked(repository: Path, model: str, waiting: Callable[[], None]) -> Generator[None]:
    """Hold the model's lock; ``waiting`` is called when another process has it. A dead process holds no lock."""
    repository.mkdir(parents=True, exist_ok=True)
    # The file stays: removing a lock file lets two processes hold two files of one name.
    with (repository / f".{model}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stage(model_directory: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """A directory of files under the model's staging directory, on disk to the last byte."""
    staging = model_directory / STAGING / name
    staging.mkdir(parents=True)
    for file, content in files.items():
        write_through(staging / file, content)
    sync_directory(staging)
    return staging


def clear_staging(model_directory: Path) -> None:
    """Remove what this or a dead export left; only under the model's lock."""
    shutil.rmtree(model_directory / STAGING, ignore_errors=True)


def move_into_place(staged: Path, destination: Path) -> None:
    """One rename. A file may replace a file; a directory must not exist yet."""
    if staged.is_dir() and destination.exists():  # a rename would silently replace an empty directory
        raise FileExistsError(f"{destination} exists")
    staged.replace(destination)
    sync_directory(destination.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file by rename; on failure the old one stays."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        write_through(partial, content)
        move_into_place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_through(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def sync_directory(path: Path) -> None:
    """Wait until the disk has the directory's entries."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
