"""Trained models by the kind of their file.

A new kind is a module whose ``read`` gives a :class:`SourceModel`, and a line in ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, InvalidCard, MissingExtra, SourceNotFound
from slipway_core.tensors import Array
from slipway_export.wording import absent, way_to_source

if TYPE_CHECKING:
    from slipway_export.graph import Surgery

__all__ = ["KINDS", "Built", "Kind", "SourceModel", "kind_of", "open_source", "read_source"]


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


@runtime_checkable
class Built(Protocol):
    """A source that code built, perhaps with weights from elsewhere: more, or other, than a file's bytes."""

    @property
    def sha256(self) -> str:
        """Stands for the source in the manifest."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know before the model is published; a line each."""
        ...


class ReadSource(Protocol):
    """A module's way in: ``read(card, content)`` opens the bytes of a model file and holds them against the card."""

    def __call__(self, card: ModelCard, content: bytes) -> SourceModel: ...


class ReadPickles(Protocol):
    """The way into a module that reads pickles too, whose loading runs code, where ``allow_pickle`` says so."""

    def __call__(self, card: ModelCard, content: bytes, *, allow_pickle: bool) -> SourceModel: ...


@dataclass(frozen=True)
class Kind:
    """A kind of trained model: the module of this package that reads it, and the extra that brings its library.

    ``pickles``: the module's ``read`` is a :class:`ReadPickles`.
    """

    module: str
    extra: str = "export"
    pickles: bool = False


KINDS: dict[str, Kind] = {
    "catboost": Kind("catboost_model", "catboost"),
    "lightgbm": Kind("lightgbm_model", "lightgbm"),
    "onnx": Kind("onnx_file"),
    "sklearn": Kind("sklearn_pipeline"),
    "torch": Kind("torch_model", pickles=True),
    "xgboost": Kind("xgboost_model", "xgboost"),
}


def open_source(card: ModelCard, content: bytes, *, allow_pickle: bool = False) -> SourceModel:
    """The card's model, read and checked. Raises :class:`ExportFailed` and its kind, or :class:`MissingExtra`.

    A kind's libraries are imported when a model of that kind is exported.
    """
    kind = kind_of(card)
    try:
        module = import_module(f"{__name__}.{kind.module}")
    except ModuleNotFoundError as e:
        raise MissingExtra("exporting", str(e.name), kind.extra) from None
    if kind.pickles:
        read_pickles: ReadPickles = module.read
        return read_pickles(card, content, allow_pickle=allow_pickle)
    read: ReadSource = module.read
    return read(card, content)


def kind_of(card: ModelCard) -> Kind:
    """How the card's source is read. Raises :class:`InvalidCard` that names the kinds there are."""
    name = card.source.kind
    if name not in KINDS:
        raise InvalidCard("source.kind", name, f"it must be one of {', '.join(sorted(KINDS))}", card.name)
    return KINDS[name]


def read_source(card: ModelCard) -> bytes:
    """The bytes of the card's model file, read once: what is hashed is what is converted. None of a model without.

    Raises :class:`SourceNotFound` or :class:`ExportFailed`.
    """
    path = card.source.path
    if path is None:
        return b""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SourceNotFound(card.name, absent(path), way_to_source(card)) from None
    except OSError as e:
        raise ExportFailed(card.name, f"{path} cannot be read ({e.strerror})") from None
    if not content:
        raise ExportFailed(card.name, f"{path} is empty; train or copy the model again")
    return content
