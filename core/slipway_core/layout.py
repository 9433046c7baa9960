"""Where things lie in a model repository; nothing here writes.

``<repository>/<model>/config.pbtxt``, ``labels.txt`` and ``<n>/`` with the model file and ``manifest.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG_FILE = "config.pbtxt"
LABELS_FILE = "labels.txt"
MANIFEST_FILE = "manifest.json"
ONNX_FILE = "model.onnx"


@dataclass(frozen=True)
class ModelDirectory:
    """One model's directory in a repository; it need not exist yet."""

    repository: Path
    model: str

    @property
    def path(self) -> Path:
        return self.repository / self.model

    @property
    def config(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def labels(self) -> Path:
        return self.path / LABELS_FILE

    def version(self, number: int) -> Path:
        return self.path / str(number)

    def manifest(self, number: int) -> Path:
        return self.version(number) / MANIFEST_FILE

    def versions(self) -> list[int]:
        """The version numbers on disk, ascending; Triton's rule: directories named by a positive integer."""
        if not self.path.is_dir():
            return []
        return sorted(
            int(entry.name)
            for entry in self.path.iterdir()
            if entry.is_dir() and entry.name.isdecimal() and not entry.name.startswith("0")
        )

    def next_version(self) -> int:
        """One more than the highest version on disk."""
        return max(self.versions(), default=0) + 1


def model_names(repository: Path) -> list[str]:
    """The directories Triton would take for models, sorted: those that do not start with a dot."""
    if not repository.is_dir():
        return []
    return sorted(entry.name for entry in repository.iterdir() if entry.is_dir() and not entry.name.startswith("."))
