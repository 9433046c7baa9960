"""Whether a model can be asked what the caller wants, and what to ask instead."""

from __future__ import annotations

from slipway_core.card import NET_SUFFIX
from slipway_core.errors import WrongTask
from slipway_core.served import ServedModel


def predictable(model: ServedModel) -> None:
    """Raise :class:`WrongTask` unless the model takes rows of features."""
    if not model.features:
        _refuse(model, "predict on rows", "it takes images: use classify" if model.image else _NO_CARD)


def readable(model: ServedModel) -> None:
    """Raise :class:`WrongTask` unless the model takes encoded images."""
    if model.role == "net" or model.image is None:
        _refuse(model, "classify images", "it takes rows: use predict" if model.features else _NO_CARD)


_NO_CARD = "slipway published no card with it: use infer"


def _refuse(model: ServedModel, asked: str, instead: str) -> None:
    if model.role == "net":
        instead = f"it is the inner half of {model.name.removesuffix(NET_SUFFIX)!r}: ask that"
    raise WrongTask(model.name, asked, instead)
