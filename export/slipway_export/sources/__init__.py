"""Trained models by the kind of their file.

A new kind is a module that gives a :class:`SourceModel`, and a line in ``SOURCES``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slipway_core.card import ModelCard, SourceKind
from slipway_core.errors import ExportFailed, MissingExtra, SourceNotFound
from slipway_core.tensors import Array
from slipway_export.wording import absent, way_to_source

if TYPE_CHECKING:
    from slipway_export.graph import Surgery

__all__ = ["SOURCES", "SourceModel", "read_source"]


class SourceModel(Protocol):
    """A trained model, read and checked against its card. Both faces give the contract's outputs.

    ``inputs`` are those of :func:`slipway_export.signature.source_inputs`.
    """

    @property
    def libraries(self) -> tuple[str, ...]:
        """The installed packages that shape the converted graph; their versions go into the manifest."""
        ...

    def to_onnx(self) -> Surgery:
        """The model as an ONNX graph. Raises :class:`ExportFailed`."""
        ...

    def predict(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The model's own answers, computed by the library that trained it."""
        ...


@contextmanager
def _its_extra() -> Generator[None]:
    """Each kind's libraries are imported when a model of that kind is exported."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise MissingExtra("exporting", str(e.name), "export") from None


def _sklearn(card: ModelCard, content: bytes) -> SourceModel:
    with _its_extra():
        from slipway_export.sources.sklearn_pipeline import SklearnPipeline

    return SklearnPipeline.read(card, content)


def _torch(card: ModelCard, content: bytes) -> SourceModel:
    with _its_extra():
        from slipway_export.sources.torch_program import TorchProgram

    return TorchProgram.read(card, content)


def _onnx(card: ModelCard, content: bytes) -> SourceModel:
    with _its_extra():
        from slipway_export.sources.onnx_file import OnnxFile

    return OnnxFile.read(card, content)


SOURCES: dict[SourceKind, Callable[[ModelCard, bytes], SourceModel]] = {
    "sklearn": _sklearn,
    "torch": _torch,
    "onnx": _onnx,
}


def read_source(card: ModelCard) -> bytes:
    """The bytes of the card's model file, read once: what is hashed is what is converted.

    Raises :class:`SourceNotFound` or :class:`ExportFailed`.
    """
    path: Path = card.source.path
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SourceNotFound(card.name, absent(path), way_to_source(card)) from None
    except OSError as e:
        raise ExportFailed(card.name, f"{path} cannot be read ({e.strerror})") from None
    if not content:
        raise ExportFailed(card.name, f"{path} is empty; train or copy the model again")
    return content
