"""torch models of every form: programs, TorchScript, modules that code builds and whose weights lie in a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_export.sources import SourceModel
from slipway_export.sources.torch_files import form_of
from slipway_export.sources.torch_module import TorchModule, built
from slipway_export.sources.torch_program import TorchProgram
from slipway_export.sources.torch_script import TorchScript
from slipway_export.sources.torch_weights import put, read_weights, unpickled
from slipway_export.sources.torchvision_models import torchvision_model


def read(card: ModelCard, content: bytes, *, allow_pickle: bool) -> SourceModel:
    """The model of a file, recognised by its content, or of a factory and perhaps a file of weights.

    Nothing of a file is run: what would be is refused with :class:`UntrustedSource`, unless ``allow_pickle``.
    """
    if card.source.factory is not None:
        return _of_factory(card, card.source.factory, content, allow_pickle=allow_pickle)
    form = form_of(card, content)
    if form == "program":
        return TorchProgram.read(card, content)
    if form == "script":
        return TorchScript.read(card, content)
    held: Any = unpickled(card, content, allow_pickle=allow_pickle) if form == "pickle" else {}
    if isinstance(held, torch.nn.Module):
        return TorchModule(card, held, content)
    if not isinstance(held, Mapping):
        raise ExportFailed(card.name, f"{card.source.path} holds a {type(held).__name__}, not a torch.nn.Module")
    raise ExportFailed(
        card.name,
        f"{card.source.path} holds weights and no model; name what builds it: source.factory = "
        "'package.module:callable' or 'torchvision:resnet50'",
    )


def _of_factory(card: ModelCard, factory: str, content: bytes, *, allow_pickle: bool) -> TorchModule:
    form = form_of(card, content) if content else None
    if form in ("program", "script"):
        raise ExportFailed(card.name, f"{card.source.path} is a whole model; take source.factory out of the card")
    remarks: tuple[str, ...] = ()
    if card.source.torchvision is not None:
        module, remarks = torchvision_model(card, card.source.torchvision)
    else:
        module = built(card, factory)
    if form is not None:
        put(card, module, read_weights(card, content, form, allow_pickle=allow_pickle))
    return TorchModule(card, module, content, remarks)
