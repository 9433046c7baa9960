"""The tensors of a card's Triton models: what the contract with clients names them."""

from __future__ import annotations

from dataclasses import dataclass

from slipway_core.card import ModelCard
from slipway_core.predictions import LABEL_TENSOR, PROBABILITIES_TENSOR, VALUE_TENSOR
from slipway_core.rows import input_specs
from slipway_core.tensors import TensorSpec

IMAGE_TENSOR = "image"


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of one Triton model; shapes are one item's, without the batch axis."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def graph_signature(card: ModelCard) -> Signature:
    """Of the model that holds the ONNX graph: the card's own, or the net of an image model."""
    if card.image is None:
        return Signature(input_specs(card.inputs), _outputs(card))
    return Signature((TensorSpec(IMAGE_TENSOR, "UINT8", card.image.shape),), _outputs(card))


def decoder_signature(card: ModelCard) -> Signature:
    """Of the python model that takes an image model's encoded files, one per item."""
    return Signature((TensorSpec(IMAGE_TENSOR, "BYTES", (1,)),), _outputs(card))


def source_inputs(card: ModelCard) -> tuple[TensorSpec, ...]:
    """What the source model itself takes: normalised FP32 ``[channels, height, width]`` for images."""
    if card.image is None:
        return input_specs(card.inputs)
    height, width, channels = card.image.shape
    return (TensorSpec(IMAGE_TENSOR, "FP32", (channels, height, width)),)


def _outputs(card: ModelCard) -> tuple[TensorSpec, ...]:
    if card.task != "classification":
        return (TensorSpec(VALUE_TENSOR, "FP32", (1,)),)
    return (
        TensorSpec(LABEL_TENSOR, "INT64", (1,)),
        TensorSpec(PROBABILITIES_TENSOR, "FP32", (len(card.output.labels),)),
    )
