"""torchvision's classification models by name, with weights that it publishes or without."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, MissingExtra
from slipway_export.sources.torch_reference import quiet, reason

# Operators of torchvision's compiled part that it expects on import. That part is compiled for one build of torch
# and does not load with another (the package index's with torch for CPUs), but no classifier uses it.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")
_DECLARED: dict[str, Any] = {}  # a declaration lasts as long as its library object


def torchvision_model(card: ModelCard, name: str) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The model, and what a person should know of it. The weights of a file are not in it yet.

    Raises :class:`ExportFailed`, or :class:`MissingExtra` without torchvision.
    """
    models = _models(card)
    _require_known(card, name, models.list_models(module=models))
    weights = _published(card, name, models)
    if card.source.weights is not None:
        _fetch(card, weights)
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same card gives the same model, even where its numbers are random
            given = weights if card.source.weights is not None else None
            module = models.get_model(name, weights=given, **card.source.arguments)
    except Exception as e:  # what its constructors raise
        raise ExportFailed(card.name, f"{card.source.factory} cannot be built: {reason(e)}") from None
    return module, tuple(_remarks(card, weights))


def _models(card: ModelCard) -> ModuleType:
    try:
        return imported()
    except ModuleNotFoundError as e:
        raise MissingExtra("exporting", str(e.name).partition(".")[0], "torchvision") from None
    except Exception as e:
        raise ExportFailed(
            card.name, f"this torchvision does not go with torch {torch.__version__} ({reason(e)})"
        ) from None


def imported() -> ModuleType:
    """``torchvision.models``, also where torchvision's compiled part does not load."""
    try:
        with quiet():
            return importlib.import_module("torchvision.models")
    except RuntimeError as e:
        missing = _MISSING.search(str(e))
        if missing is None or missing.group(1) in _DECLARED or missing.group(1) not in _SCHEMAS:
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(_SCHEMAS[missing.group(1)])
        _DECLARED[missing.group(1)] = library
        return imported()


def _require_known(card: ModelCard, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or known
        raise ExportFailed(
            card.name, f"torchvision has no classification model {name!r}; there are: {', '.join(close)}"
        )


def _published(card: ModelCard, name: str, models: ModuleType) -> Any:
    """The card's weights, or those whose file is the card's; None for others."""
    entries = models.get_model_weights(name)
    wanted = card.source.weights
    if wanted is None:
        file = card.source.path.name if card.source.path else None
        return next((entry for entry in entries if entry.url.rpartition("/")[2] == file), None)
    if wanted not in entries.__members__:
        raise ExportFailed(
            card.name, f"torchvision has no weights {wanted!r} for {name}; there are: {', '.join(entries.__members__)}"
        )
    return entries[wanted]


def _fetch(card: ModelCard, weights: Any) -> None:
    """Into torch's cache, and proven to be weights alone: torchvision itself would load whatever lies there."""
    try:
        with quiet():
            weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except OSError as e:  # among them urllib's
        why = reason(getattr(e, "reason", e)) if isinstance(getattr(e, "reason", e), Exception) else reason(e)
        raise ExportFailed(
            card.name,
            f"{weights.url} cannot be fetched ({why}); fetch it elsewhere and give the file: --weights <file>",
        ) from None
    except Exception:  # torch's and pickle's, and a hash that is not the address's
        file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        raise ExportFailed(
            card.name, f"{file} holds no weights, or damaged ones; delete it, and it is fetched again"
        ) from None


def _remarks(card: ModelCard, weights: Any) -> list[str]:
    if weights is None:
        return [] if card.source.path else [f"{card.source.factory} has no weights; its answers mean nothing"]
    if card.image is None:
        return []
    ours = card.image.model_dump()
    ours |= {key: ours[key] * (3 // len(ours[key])) for key in ("mean", "std")}  # one number stands for all colours
    theirs = _preset(weights)
    differ = [
        f"{key} = {_shown(ours[key])} (preset: {_shown(value)})" for key, value in theirs.items() if ours[key] != value
    ]
    return [f"the card's [image] is not the preset of {weights}: {', '.join(differ)}"] if differ else []


def _preset(weights: Any) -> dict[str, Any]:
    """How torchvision itself prepares images for these weights, in the card's words."""
    preset = weights.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    return {
        "height": crop,
        "width": crop,
        "channels": 3,
        "resize": "crop",
        "shorter_side": resize,
        "interpolation": preset.interpolation.value,
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
    }


def _shown(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else "none" if value is None else str(value)
