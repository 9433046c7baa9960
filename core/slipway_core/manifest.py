"""The manifest of a published version: where it came from and the proof that it answers like its source."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from slipway_core.summary import TrainingSummary


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceRecord(_Frozen):
    """The trained model at the time of export: its file, or what built it of which weights; and their hash."""

    kind: str
    path: str
    sha256: str


class OutputParity(_Frozen):
    """The worst element of one output over all batches. ``difference`` and ``allowed`` are absolute."""

    output: str
    difference: float
    allowed: float
    labels_agree: float | None = None


class ParityRecord(_Frozen):
    """What was compared: ``batches`` are the batch sizes, ``samples`` the number of distinct samples."""

    samples: int
    samples_sha256: str
    batches: tuple[int, ...]
    absolute: float
    relative: float
    outputs: tuple[OutputParity, ...]


class Manifest(_Frozen):
    """Everything an auditor asks of a version.

    ``files`` maps file names in the version to SHA-256; ``card_sha256`` is the hash of all that the card said.
    """

    model: str
    version: int
    created: str
    slipway: str
    source: SourceRecord
    card_sha256: str = ""
    files: dict[str, str]
    opset: int | None = None
    ir_version: int | None = None
    libraries: dict[str, str]
    parity: ParityRecord | None = None
    training: TrainingSummary | None = None

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest. Raises OSError, or ValueError when the file is none."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
