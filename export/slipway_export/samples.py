"""The real samples on which a converted model is compared with its source."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, SourceNotFound
from slipway_core.rows import FEATURES_TENSOR, is_one_tensor
from slipway_core.summary import hash_arrays
from slipway_core.tensors import Array, numpy_dtype
from slipway_export.signature import IMAGE_TENSOR, graph_signature
from slipway_export.wording import one_line

# Enough to meet every class of a card and the odd corner; a ResNet-50 on two cores takes about a minute on them.
MOST = 256


@dataclass(frozen=True)
class Samples:
    """Inputs of the published graph, by tensor name; all have the same number of items, at least one."""

    inputs: dict[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def sha256(self) -> str:
        return hash_arrays(*(self.inputs[name] for name in sorted(self.inputs)))

    def batch(self, start: int, size: int) -> tuple[dict[str, Array], Array]:
        """``size`` items from ``start`` on, beginning anew after the last one, and their positions."""
        positions = np.arange(start, start + size) % len(self)
        return {name: array[positions] for name, array in self.inputs.items()}, positions


def read_samples(card: ModelCard) -> Samples:
    """The card's samples as the graph takes them, at most ``MOST``, spread evenly over the file.

    Raises :class:`SourceNotFound` or :class:`ExportFailed`.
    """
    path = card.source.samples
    if path is None:
        raise ExportFailed(
            card.name,
            "the card has no source.samples; the parity gate compares on real samples (an .npz with 'inputs')",
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise SourceNotFound(card.name, str(path), "train the model again, or mend the card's source.samples") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise ExportFailed(card.name, f"the samples in {path} cannot be read ({one_line(e)})") from None
    inputs = _as_tensors(card, arrays)
    count = len(next(iter(inputs.values())))
    if count == 0 or any(len(array) != count for array in inputs.values()):
        raise ExportFailed(card.name, f"{path} must hold at least one sample, and as many of each input")
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(np.int64))
    return Samples({name: array[chosen] for name, array in inputs.items()})


def _as_tensors(card: ModelCard, arrays: dict[str, Array]) -> dict[str, Array]:
    specs = graph_signature(card).inputs
    if card.image is not None or is_one_tensor(card.inputs):
        arrays = {IMAGE_TENSOR if card.image is not None else FEATURES_TENSOR: arrays.get("inputs", np.empty(0))}
    inputs: dict[str, Array] = {}
    for spec in specs:
        array = arrays.get(spec.name, np.empty(0))
        fits = array.dtype == np.uint8 if spec.datatype == "UINT8" else array.dtype.kind in "fiub"
        if array.ndim == 1 and spec.shape == (1,):
            array = array.reshape(-1, 1)
        if array.shape[1:] != spec.shape or (not fits and spec.datatype != "BYTES"):
            raise ExportFailed(
                card.name,
                f"{card.source.samples} must hold {spec.datatype} [samples, {', '.join(map(str, spec.shape))}] for "
                f"{spec.name!r} (the array 'inputs'), it holds {array.dtype} {list(array.shape)}",
            )
        inputs[spec.name] = array.astype(numpy_dtype(spec.datatype))
    return inputs
