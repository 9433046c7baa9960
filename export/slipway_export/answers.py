"""The contract's outputs, computed with numpy from a source model's raw one: what the graph's ending must equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR, VALUE_TENSOR
from slipway_core.tensors import Array
from slipway_export.graph import RawOutput


def answers(raw: Array, kind: RawOutput) -> dict[str, Array]:
    """``label`` and ``probabilities``, or ``value``, from logits, probabilities or values ``[n, ...]``."""
    if kind == "value":
        return {VALUE_TENSOR: raw.reshape(-1, 1).astype(np.float32)}
    label = raw.argmax(axis=1, keepdims=True).astype(np.int64)
    exact = raw.astype(np.float64)
    if kind == "logits":
        exact = np.exp(exact - exact.max(axis=1, keepdims=True))
        exact /= exact.sum(axis=1, keepdims=True)
    return {LABEL_TENSOR: label, PROBABILITIES_TENSOR: exact.astype(np.float32)}


def raw_output_kind(card: ModelCard) -> RawOutput:
    """What the source's first output is, by the card; raises :class:`ExportFailed` when it does not say."""
    kind = card.source.output
    if card.task != "classification" and kind in (None, "value"):
        return "value"
    if card.task == "classification" and kind in ("logits", "probabilities"):
        return kind
    said = f"says {kind!r}" if kind else "is missing"
    allowed = "'logits' or 'probabilities'" if card.task == "classification" else "'value'"
    raise ExportFailed(card.name, f"the card's source.output {said}; for {card.task} it must be {allowed}")


def check_width(card: ModelCard, width: int) -> None:
    """Raises :class:`ExportFailed` when the model's number of classes (or values) is not the card's."""
    if card.task != "classification":
        if width != 1:
            raise ExportFailed(card.name, f"the model gives {width} values per row, a card for {card.task} has one")
        return
    labels = card.output.labels
    if width != len(labels):
        raise ExportFailed(
            card.name, f"the model gives {width} classes, the card's output.labels names {len(labels)}; make them equal"
        )


def label_positions(card: ModelCard, classes: Sequence[Any]) -> list[int]:
    """Where each of the model's own classes stands in the card's labels: numbered like them, or named like them."""
    labels = list(card.output.labels)
    check_width(card, len(classes))
    if list(classes) == list(range(len(labels))):
        return list(range(len(labels)))
    names = [str(name) for name in classes]
    if sorted(names) != sorted(labels):
        raise ExportFailed(
            card.name,
            f"the model's classes are {', '.join(names)}, the card's output.labels are {', '.join(labels)}; "
            "train on the labels themselves, or on their positions from 0",
        )
    return [labels.index(name) for name in names]
