"""The parity gate: a converted model must answer like its source, on real samples, at every kind of batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, ParityFailed
from slipway_core.manifest import OutputParity, ParityRecord
from slipway_core.predictions import LABEL_TENSOR
from slipway_core.tensors import Array, TensorSpec, numpy_dtype
from slipway_export.samples import Samples

Model = Callable[[Mapping[str, Array]], Mapping[str, Array]]


def batch_sizes(most: int) -> tuple[int, ...]:
    """One, two, an odd size and the largest: where exporters are known to bake a size in."""
    odd = min(7, most if most % 2 else most - 1)
    return tuple(sorted({size for size in (1, 2, odd, most) if 1 <= size <= most}))


@dataclass
class _Worst:
    """The element of one output that uses up most of what is allowed; ``strain`` is difference over allowed."""

    difference: float = 0.0
    allowed: float = 0.0
    strain: float = -1.0
    batch: int = 0
    sample: int = 0


def check_parity(
    card: ModelCard, samples: Samples, reference: Model, converted: Model, outputs: Sequence[TensorSpec]
) -> ParityRecord:
    """Compare both models on every sample at every batch size; the last batch is filled up from the first samples.

    Two values agree when ``|a - b| <= absolute + relative * |b|``, b being the source's, or when both are NaN, or
    the same infinity; labels must be equal. Raises :class:`ParityFailed` for the worst element, or
    :class:`ExportFailed` when an output's shape or type is not the contract's.
    """
    sizes = batch_sizes(card.batching.max_batch_size)
    expected = _reference(card, samples, reference, sizes)
    worst = {spec.name: _Worst() for spec in outputs}
    for size in sizes:
        for start in range(0, len(samples), size):
            inputs, positions = samples.batch(start, size)
            answered = converted(inputs)
            for spec in outputs:
                _check_form(card, spec, answered, size)
                _compare(card, spec.name, answered[spec.name], expected[spec.name][positions], worst, positions)
    for name, at in worst.items():
        if at.strain > 1:
            raise ParityFailed(card.name, name, at.batch, at.sample, at.difference, at.allowed)
    return ParityRecord(
        samples=len(samples),
        samples_sha256=samples.sha256,
        batches=sizes,
        absolute=card.tolerance.absolute,
        relative=card.tolerance.relative,
        outputs=tuple(_record(name, at) for name, at in worst.items()),
    )


def _record(name: str, at: _Worst) -> OutputParity:
    agree = 1.0 if name == LABEL_TENSOR else None  # one label that differs shuts the gate
    return OutputParity(output=name, difference=at.difference, allowed=at.allowed, labels_agree=agree)


def _reference(card: ModelCard, samples: Samples, reference: Model, sizes: Sequence[int]) -> dict[str, Array]:
    """The source's answers to all samples, in pieces; and a look that it takes every batch size itself."""
    for size in sizes:
        reference(samples.batch(0, size)[0])
    piece = min(32, card.batching.max_batch_size)
    parts = [
        reference({name: array[start : start + piece] for name, array in samples.inputs.items()})
        for start in range(0, len(samples), piece)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_form(card: ModelCard, spec: TensorSpec, answered: Mapping[str, Array], batch: int) -> None:
    array = answered.get(spec.name)
    if array is None or array.shape != (batch, *spec.shape) or array.dtype != numpy_dtype(spec.datatype):
        found = "is missing" if array is None else f"is {array.dtype} {list(array.shape)}"
        raise ExportFailed(
            card.name,
            f"the converted model's output {spec.name!r} {found} for a batch of {batch}, the contract says "
            f"{spec.datatype} {[batch, *spec.shape]}",
        )


def _compare(
    card: ModelCard, name: str, ours: Array, source: Array, worst: dict[str, _Worst], positions: Array
) -> None:
    a, b = ours.astype(np.float64), source.astype(np.float64)
    exact = name == LABEL_TENSOR
    allowed = np.zeros_like(b) if exact else card.tolerance.absolute + card.tolerance.relative * np.abs(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(a - b))
    # A NaN or an infinity on one side alone is no distance but a failure.
    difference[np.isnan(difference)] = np.inf
    allowed[~np.isfinite(allowed)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        strain = np.where(difference == 0, 0.0, difference / allowed)
    at = np.unravel_index(int(strain.argmax()), strain.shape)
    if strain[at] > worst[name].strain:
        worst[name] = _Worst(
            difference=float(difference[at]),
            allowed=float(allowed[at]),
            strain=float(strain[at]),
            batch=len(positions),
            sample=int(positions[at[0]]),
        )
