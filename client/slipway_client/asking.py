"""Whether a model can be asked what the caller wants, and what to ask instead."""

from __future__ import annotations

import re

from google.protobuf.message import Message

from slipway_client.grpc_errors import shortened
from slipway_core.card import NET_SUFFIX
from slipway_core.errors import InvalidInput, ModelNotFound, WrongTask
from slipway_core.served import ServedModel

_NAME_LENGTH = 255  # a model is a directory, and no file system has longer names


def check_names(request: Message) -> None:
    """Spare Triton what it cannot know: gRPC breaks on very long names.

    Raises :class:`ModelNotFound` for such a model and :class:`InvalidInput` for a version that is no number.
    """
    model = getattr(request, "model_name", "") or getattr(request, "name", "")
    version = getattr(request, "model_version", "") or getattr(request, "version", "")
    if len(model) > _NAME_LENGTH:
        raise ModelNotFound(shortened(model))
    if version and not re.fullmatch(r"[1-9][0-9]{0,17}", version):
        raise InvalidInput(f"version must be a positive whole number, got {shortened(version)!r}")


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
