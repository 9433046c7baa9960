"""One export: load, convert, compare, publish, and activate when asked."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, MissingExtra, SourceNotFound
from slipway_core.layout import ModelDirectory
from slipway_core.manifest import Manifest, ParityRecord, SourceRecord
from slipway_core.summary import TrainingSummary, hash_file
from slipway_export.activate import activate
from slipway_export.live import live_versions
from slipway_export.progress import Progress, silent
from slipway_export.publish import ManifestOf, publish, refuse_taken
from slipway_export.sources import kind_of
from slipway_export.wording import absent, one_line, way_to_source

if TYPE_CHECKING:
    from slipway_export.conversion import Conversion


@dataclass(frozen=True)
class Published:
    """A new version. ``parity`` is the proof that it answers like its source; ``live``: Triton may serve it."""

    model: str
    version: int
    path: Path
    parity: ParityRecord
    live: bool


def export(
    card: ModelCard,
    *,
    repository: Path,
    version: int | None = None,
    activate_on: str | None = None,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> Published:
    """Convert the card's trained model and publish it under ``version``, or the next free number.

    A model's first version is live at once; a later one is not, unless ``activate_on`` is the gRPC address of a
    running Triton, which then serves it without a pause. ``allow_pickle`` lets a source be a pickle, whose loading
    runs whatever code its maker put there.

    Raises :class:`ExportFailed` (nothing was published), :class:`PublishFailed` (what was published before is
    untouched), :class:`MissingExtra`, or what :func:`activate` raises: the version then is published and not live.
    """
    try:
        from slipway_export.conversion import converted
    except ModuleNotFoundError as e:
        raise MissingExtra("exporting", str(e.name), "export") from None
    kind_of(card)
    if version is not None:
        refuse_taken(repository, card.name, version)
    path = card.source.path
    if path is not None and not path.exists():  # before libraries are imported that take seconds
        raise SourceNotFound(card.name, absent(path), way_to_source(card))
    training = _training(card)
    conversion = converted(card, progress, allow_pickle=allow_pickle)
    manifest_of = _manifests(card, conversion, training)
    number, live = publish(repository, conversion.parts, manifest_of, version, progress)
    if activate_on is not None:
        live = number in activate(repository, card.name, number, address=activate_on, progress=progress)
    published = ModelDirectory(repository, card.name).version(number)
    return Published(card.name, number, published, conversion.parity, live)


def is_current(card: ModelCard, repository: Path) -> bool:
    """Whether the newest version was made from this very source file and card, and some version is live."""
    directory = ModelDirectory(repository, card.name)
    versions = directory.versions()
    if not versions or not live_versions(repository, card.name):
        return False
    if not ModelDirectory(repository, card.net_name).version(versions[-1]).is_dir():
        return False
    try:
        manifest = Manifest.read(directory.manifest(versions[-1]))
        return manifest.card_sha256 == card_sha256(card) and _is_same_source(card, manifest)
    except (OSError, ValueError):
        return False


def _is_same_source(card: ModelCard, manifest: Manifest) -> bool:
    """By the file's bytes; of a model without a file by the library that brings it."""
    if card.source.path is not None:
        return manifest.source.sha256 == hash_file(card.source.path)
    return manifest.libraries.get("torchvision") == _version_of("torchvision")


def card_sha256(card: ModelCard) -> str:
    """A card's identity: everything it says, labels from a file included."""
    return hashlib.sha256(card.model_dump_json().encode()).hexdigest()


def _manifests(card: ModelCard, conversion: Conversion, training: TrainingSummary | None) -> ManifestOf:
    """The manifest of each Triton model that the version consists of."""

    def manifest(model: str, version: int, files: dict[str, str]) -> Manifest:
        source = SourceRecord(kind=card.source.kind, path=card.source.origin, sha256=conversion.source_sha256)
        return Manifest(
            model=model,
            version=version,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            slipway=_version_of("slipway"),
            source=source,
            card_sha256=card_sha256(card),
            files=files,
            opset=conversion.opset,
            ir_version=conversion.ir_version,
            libraries=_versions_of(conversion.libraries),
            parity=conversion.parity,
            training=training,
        )

    return manifest


def _training(card: ModelCard) -> TrainingSummary | None:
    path = card.source.summary
    if path is None:
        return None
    try:
        return TrainingSummary.read(path)
    except FileNotFoundError:
        raise SourceNotFound(
            card.name, absent(path), "train the model again, or take source.summary out of the card"
        ) from None
    except (OSError, ValueError) as e:
        raise ExportFailed(card.name, f"{path} is no training summary ({one_line(e)})") from None


def _versions_of(packages: Sequence[str]) -> dict[str, str]:
    return {"python": platform.python_version()} | {name: _version_of(name) for name in packages}


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
