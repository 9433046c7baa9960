"""From a converted model in memory to a version in the repository: complete, or not there.

A version of an image model is two directories, ``<m>_net/<n>`` and then ``<m>/<n>``; only the second makes it a
version. Every byte is written beside its destination first; then nothing is left to do but renames, so that a full
disk is met before anything has changed. Two exports of one model wait for each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from slipway_core.errors import ContractChanged, PublishFailed
from slipway_core.layout import CONFIG_FILE, LABELS_FILE, MANIFEST_FILE, ModelDirectory
from slipway_core.manifest import Manifest
from slipway_export.config import as_text, read_config
from slipway_export.contract import change
from slipway_export.durable import STAGING, clear_staging, locked, move_into_place, replace_file, stage
from slipway_export.live import activation_order
from slipway_export.progress import Progress, tell


@dataclass(frozen=True)
class Part:
    """One Triton model's share of a version; ``config`` gives its configuration for a list of live versions."""

    model: str
    config: Callable[[Sequence[int]], ModelConfig]
    labels: Sequence[str]
    files: Mapping[str, bytes]


# The manifest of a part, given its Triton model, the version and the files' hashes.
ManifestOf = Callable[[str, int, dict[str, str]], Manifest]


def refuse_taken(repository: Path, model: str, version: int) -> None:
    """Raises :class:`PublishFailed` when the version is there already."""
    if ModelDirectory(repository, model).version(version).exists():
        raise PublishFailed(
            model, version, "this version exists, and versions never change; leave the number out for the next free one"
        )


def publish(
    repository: Path, parts: Sequence[Part], manifest_of: ManifestOf, version: int | None, progress: Progress
) -> tuple[int, bool]:
    """Publish all parts under one number, the last part last; returns the number and whether it is live.

    It is live when no other version is. Raises :class:`PublishFailed` or :class:`ContractChanged`; the repository
    is then as it was before.
    """
    model = parts[-1].model
    directories = [ModelDirectory(repository, part.model) for part in parts]
    number = version or _next(directories)
    try:
        with locked(repository, model, lambda: tell(progress, "publish", f"waiting for another export of {model}")):
            _repair(directories, version)
            number = version or _next(directories)
            refuse_taken(repository, model, number)
            _refuse_changed_contract(parts, directories, model, number)
            live = not activation_order(directories[-1])
            try:
                renames = [
                    rename
                    for part, directory in zip(parts, directories, strict=True)
                    for rename in _staged(part, directory, number, manifest_of, live=live)
                ]
                _commit(renames, repository, progress)
            finally:
                _tidy(directories)
    except OSError as e:
        raise PublishFailed(model, number, _reason(e, repository, parts)) from None
    return number, live


def _staged(
    part: Part, directory: ModelDirectory, number: int, manifest_of: ManifestOf, *, live: bool
) -> list[tuple[Path, Path]]:
    """Write everything under a name that Triton ignores; returns the renames that publish it, in order."""
    files = {**part.files, CONFIG_FILE: as_text(part.config([number])).encode()}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = manifest_of(part.model, number, hashes)
    files[MANIFEST_FILE] = (manifest.model_dump_json(indent=2) + "\n").encode()
    version = (stage(directory.path, str(number), files), directory.version(number))
    if not live:
        return [version]
    # Nothing of this model is served, so its shared files may come first: the version then is complete on arrival.
    shared = {CONFIG_FILE: files[CONFIG_FILE]}
    if part.labels:
        shared[LABELS_FILE] = labels_text(part.labels)
    beside = stage(directory.path, "shared", shared)
    return [*((beside / name, directory.path / name) for name in sorted(shared)), version]


def labels_text(labels: Sequence[str]) -> bytes:
    """One label a line, as Triton's classification extension reads them."""
    return "".join(f"{label}\n" for label in labels).encode()


def _next(directories: Sequence[ModelDirectory]) -> int:
    return max(directory.next_version() for directory in directories)


def _repair(directories: Sequence[ModelDirectory], version: int | None) -> None:
    """Take away what an export that died left: staged files, and nets whose model never came."""
    for directory in directories:
        clear_staging(directory.path)
    published = directories[-1].versions()
    for directory in directories[:-1]:
        for number in directory.versions():
            if number not in published and (number == version or number > max(published, default=0)):
                # Out of Triton's sight at once; taking a directory apart in place would not be one step.
                (directory.path / STAGING).mkdir(exist_ok=True)
                directory.version(number).rename(directory.path / STAGING / str(number))
                clear_staging(directory.path)


def _refuse_changed_contract(
    parts: Sequence[Part], directories: Sequence[ModelDirectory], model: str, number: int
) -> None:
    for part, directory in zip(parts, directories, strict=True):
        published = directory.versions()
        if not published:
            continue
        own_copy = directory.version(published[-1]) / CONFIG_FILE
        file = own_copy if own_copy.is_file() else directory.config
        if not file.is_file():
            raise PublishFailed(
                model, number, f"{directory.path} holds versions without a {CONFIG_FILE}; choose another model name"
            )
        differing = change(read_config(file), part.config([number]))
        if differing:
            raise ContractChanged(part.model, number, *differing)


def _commit(renames: Sequence[tuple[Path, Path]], repository: Path, progress: Progress) -> None:
    """All renames or, short of the last one, everything as it was.

    What happened is read from the disk: a signal may come between a rename and the line that would note it.
    """
    replaced = {place: place.read_bytes() for _, place in renames if place.is_file()}
    try:
        for staged, place in renames:
            move_into_place(staged, place)
            tell(progress, "publish", f"{place.relative_to(repository)} is in place")
    except BaseException:
        if renames[-1][0].exists():
            for staged, place in reversed(renames):
                if not staged.exists():
                    place.rename(staged)
                    if place in replaced:
                        replace_file(place, replaced[place])
        raise


def _tidy(directories: Sequence[ModelDirectory]) -> None:
    for directory in directories:
        clear_staging(directory.path)
        with suppress(OSError):
            directory.path.rmdir()  # only an empty one: the model's first version did not come about


def _reason(error: OSError, repository: Path, parts: Sequence[Part]) -> str:
    size = sum(len(content) for part in parts for content in part.files.values())
    why = (error.strerror or str(error)).lower()
    return f"{repository} cannot be written ({why}); it takes about {size / 1e6:.1f} MB and a writable folder"
