"""Weights of torch models: read without running anything of the file, and put where they belong."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, MissingExtra, UntrustedSource
from slipway_export.sources.torch_files import Form, damaged
from slipway_export.sources.torch_reference import quiet, reason

Weights = Mapping[str, torch.Tensor]
_SHOWN = 3


def read_weights(card: ModelCard, content: bytes, form: Form, *, allow_pickle: bool) -> Weights:
    """A file's tensors by name. Raises :class:`ExportFailed`, or :class:`UntrustedSource` for other things in it."""
    if form == "safetensors":
        return _safetensors(card, content)
    held = unpickled(card, content, allow_pickle=allow_pickle)
    if isinstance(held, torch.nn.Module):
        held = held.state_dict()
    if not isinstance(held, Mapping) or not held:
        raise ExportFailed(card.name, f"{card.source.path} holds a {type(held).__name__}, no weights by name")
    table = cast("Mapping[str, Any]", held)
    if not is_weights(table):
        raise ExportFailed(card.name, _checkpoint(card, table))
    return table


def unpickled(card: ModelCard, content: bytes, *, allow_pickle: bool) -> Any:
    """What torch.save wrote: tensors and plain values, or with ``allow_pickle`` anything, by running its code."""
    try:
        with quiet():
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=not allow_pickle)
    except (ImportError, AttributeError) as e:
        raise ExportFailed(
            card.name,
            f"{card.source.path} needs code that is not here ({reason(e)}); put the folder of the model's class on "
            "PYTHONPATH, or save the weights alone: torch.save(model.state_dict(), ...)",
        ) from None
    except Exception as e:  # pickle's own errors, torch's, zip's
        named = re.findall(r"GLOBAL (\S+)", str(e))
        if not named:
            raise damaged(card) from None
        raise UntrustedSource(card.name, str(card.source.path), sorted(set(named)), _DISTRUST) from None


_DISTRUST = (
    "save the weights alone, torch.save(model.state_dict(), ...), or use --allow-pickle if you trust whoever made the "
    "file: loading it runs its code"
)


def is_weights(held: Any) -> bool:
    return isinstance(held, Mapping) and all(
        isinstance(value, torch.Tensor) for value in cast("Mapping[Any, Any]", held).values()
    )


def put(card: ModelCard, module: torch.nn.Module, weights: Weights) -> None:
    """Raises :class:`ExportFailed` that names the first weights that are missing, unknown or of another shape."""
    own = module.state_dict()
    shapes = [
        f"{name} {list(tensor.shape)} for the model's {list(own[name].shape)}"
        for name, tensor in weights.items()
        if name in own and tensor.shape != own[name].shape
    ]
    missing, unexpected = [name for name in own if name not in weights], [name for name in weights if name not in own]
    if not shapes:
        try:  # it knows which of the missing ones a module does without
            found = module.load_state_dict(dict(weights), strict=False)
        except Exception as e:  # a module may have a say in it
            raise ExportFailed(
                card.name, f"{card.source.path} does not fit {card.source.factory}: {reason(e)}"
            ) from None
        missing, unexpected = _not_tied(found.missing_keys, own, weights), found.unexpected_keys
    faults = [("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)]
    told = "; ".join(f"{what} {_first(names)}" for what, names in faults if names)
    if told:
        raise ExportFailed(card.name, f"{card.source.path} does not fit {card.source.factory}: {told}")


def content_hash(module: torch.nn.Module) -> str:
    """SHA-256 of a module's state: names, types, shapes and numbers, whatever file they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _safetensors(card: ModelCard, content: bytes) -> Weights:
    try:
        library = import_module("safetensors.torch")
    except ModuleNotFoundError as e:
        raise MissingExtra("exporting", str(e.name), "export") from None
    try:
        return library.load(content)
    except Exception:  # safetensors_rust.SafetensorError, and KeyError for a type that torch lacks
        raise damaged(card) from None


def _checkpoint(card: ModelCard, held: Mapping[str, Any]) -> str:
    """A training run's state, of which the weights are one part."""
    path, inner = card.source.file, [key for key, value in held.items() if value and is_weights(value)]
    told = f"{path} holds more than weights ({_first([str(key) for key in held])}); save these alone"
    if not inner:
        return f"{told}: torch.save(model.state_dict(), ...)"
    return f"{told}: torch.save(torch.load({path.name!r})[{inner[0]!r}], 'weights.pt')"


def _not_tied(missing: Sequence[str], own: Weights, weights: Weights) -> list[str]:
    """Tensors that a model has under two names: a file may have one of them."""
    given = {own[name].data_ptr() for name in own if name in weights and own[name].numel()}
    return [name for name in missing if name not in own or own[name].data_ptr() not in given]


def _first(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
