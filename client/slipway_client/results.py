"""What a client's calls answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway_core.predictions import Prediction
from slipway_core.tensors import Array

READY = "READY"


@dataclass(frozen=True)
class PredictionResult:
    """One prediction per row or image, in the order sent. ``version`` is the version that answered all of them."""

    model: str
    version: str
    predictions: Sequence[Prediction]


@dataclass(frozen=True)
class InferResult:
    """The output tensors by name. BYTES tensors hold ``bytes``; all others are read-only views."""

    model: str
    version: str
    tensors: dict[str, Array]


@dataclass(frozen=True)
class ModelState:
    """One line of Triton's repository index.

    ``state`` is ``READY``, ``LOADING``, ``UNLOADING``, ``UNAVAILABLE``, or empty for a model that was never loaded
    (then ``version`` is empty too); ``reason`` says why a model is unavailable.
    """

    name: str
    version: str
    state: str
    reason: str

    @property
    def ready(self) -> bool:
        """Whether Triton says that this version takes requests."""
        return self.state == READY
