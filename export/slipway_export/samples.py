"""The real samples on which a converted model is compared with its source."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed, SourceNotFound
from slipway_core.rows import FEATURES_TENSOR, is_one_tensor
from slipway_core.summary import hash_arrays
from slipway_core.tensors import Array, numpy_dtype
from slipway_export.signature import graph_signature
from slipway_export.unpacking import refuse_bomb
from slipway_export.wording import absent, one_line

# Enough to meet every class of a card and the odd corner; a ResNet-50 on two cores takes about a minute on them.
MOST = 256
GAPS = 8  # samples that are tried once more without an optional feature
# A damaged or hostile file must not fill the memory; 256 samples of 1000 x 1000 pixels weigh less.
MOST_BYTES = 4 * 2**30


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
            "the card has no source.samples; the parity gate compares on real samples (an .npz with 'inputs', or for "
            "an image model a folder of images)",
        )
    try:
        arrays = _images_in(card, path) if path.is_dir() else _arrays_in(card, path)
    except FileNotFoundError:
        raise SourceNotFound(
            card.name, absent(path), "train the model again, or mend the card's source.samples"
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as e:
        raise ExportFailed(card.name, f"the samples in {path} cannot be read ({one_line(e)})") from None
    inputs = _as_tensors(card, arrays)
    count = len(next(iter(inputs.values())))
    if any(len(array) != count for array in inputs.values()):
        raise ExportFailed(card.name, f"{path} must hold as many samples of each input")
    chosen = np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(np.int64))
    return Samples(_with_gaps(card, {name: array[chosen] for name, array in inputs.items()}))


def _with_gaps(card: ModelCard, inputs: dict[str, Array]) -> dict[str, Array]:
    """The samples, and behind them a few that lack each optional feature, and all of them: as clients may send them."""
    optional = [at for at, feature in enumerate(card.inputs) if feature.optional]
    if not optional:
        return inputs
    few = {name: array[:GAPS] for name, array in inputs.items()}
    lacking = [[at] for at in optional] + ([optional] if len(optional) > 1 else [])
    parts = [inputs, *(_without(card, few, features) for features in lacking)]
    return {name: np.concatenate([part[name] for part in parts]) for name in inputs}


def _without(card: ModelCard, inputs: dict[str, Array], features: Sequence[int]) -> dict[str, Array]:
    blanked = {name: array.copy() for name, array in inputs.items()}
    for at in features:
        if is_one_tensor(card.inputs):
            blanked[FEATURES_TENSOR][:, at] = np.nan
        elif blanked[card.inputs[at].name].dtype.kind == "f":
            blanked[card.inputs[at].name][:] = np.nan
    return blanked


def _arrays_in(card: ModelCard, path: Path) -> dict[str, Array]:
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            reason = (
                f"the samples in {path} are no .npz file, or cut off; write them with numpy.savez(path, inputs=...)"
            )
            raise ExportFailed(card.name, reason)
        refuse_bomb(card, path, stream, MOST_BYTES)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _images_in(card: ModelCard, folder: Path) -> dict[str, Array]:
    """The folder's image files, decoded as the served model decodes them; of many an even choice of ``MOST``."""
    if card.image is None:
        raise ExportFailed(card.name, f"{folder} is a folder; a model of rows takes its samples from an .npz file")
    from slipway_export.image_model.decoding import ImageRefused, Preparation, prepared

    preparation = Preparation.from_json(card.image.model_dump_json())
    files = sorted(
        file for file in folder.iterdir() if not file.name.startswith(".") and (file.is_file() or not file.exists())
    )
    chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), MOST)).astype(int)) if files else []
    images: list[Array] = []
    for at in chosen:
        try:
            images.append(prepared(files[at].read_bytes(), preparation))
        except FileNotFoundError:
            raise ExportFailed(card.name, f"the sample {absent(files[at])} does not exist") from None
        except ImageRefused as e:
            raise ExportFailed(card.name, f"the sample {files[at]} cannot be used: {e}") from None
    return {"inputs": np.stack(images) if images else np.empty((0, *card.image.shape), np.uint8)}


def _as_tensors(card: ModelCard, arrays: dict[str, Array]) -> dict[str, Array]:
    one = card.image is not None or is_one_tensor(card.inputs)
    inputs: dict[str, Array] = {}
    for spec in graph_signature(card).inputs:
        name = "inputs" if one else spec.name
        if name not in arrays:
            found = f"it has {', '.join(map(repr, sorted(arrays)))}" if arrays else "it has none at all"
            raise ExportFailed(card.name, f"{card.source.samples} lacks the array {name!r}; {found}")
        array = arrays[name]
        if array.size == 0:
            raise ExportFailed(card.name, f"{card.source.samples} holds no sample")
        fits = array.dtype == np.uint8 if spec.datatype == "UINT8" else array.dtype.kind in "fiub"
        if array.ndim == 1 and spec.shape == (1,):
            array = array.reshape(-1, 1)
        if array.shape[1:] != spec.shape or (not fits and spec.datatype != "BYTES"):
            raise ExportFailed(
                card.name,
                f"{card.source.samples} must hold {spec.datatype} [samples, {', '.join(map(str, spec.shape))}] in the "
                f"array {name!r}, it holds {array.dtype} {list(array.shape)}",
            )
        inputs[spec.name] = array.astype(numpy_dtype(spec.datatype))
    return inputs
