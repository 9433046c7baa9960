"""scikit-learn's 1,797 handwritten digits as the uint8 images that a served model gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from slipway_core.summary import hash_arrays
from slipway_core.tensors import Array
from slipway_training.recipes import Job

SIZE = 8
CLASSES = 10
_BRIGHTEST = 16


@dataclass(frozen=True)
class Digits:
    """``images`` uint8 ``[n, 8, 8, 1]``, bright strokes on black; ``targets`` int64 ``[n]``, the digit itself."""

    images: Array
    targets: Array
    source: str
    sha256: str


def load(job: Job) -> Digits:
    """The digits. Raises :class:`TrainingFailed` for data of another origin, which this recipe does not take."""
    if job.data is not None:
        raise job.refused("it has its own images, scikit-learn's handwritten digits, and takes no other data")
    bunch: Any = load_digits()
    images = np.round(bunch.images * 255 / _BRIGHTEST).astype(np.uint8)[..., np.newaxis]
    targets = bunch.target.astype(np.int64)
    return Digits(images, targets, "scikit-learn load_digits", hash_arrays(images, targets))
