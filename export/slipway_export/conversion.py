"""A card's trained model as the files of a version, proven to answer like its source. Needs the extra ``export``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed
from slipway_core.images import normalised
from slipway_core.layout import ONNX_FILE
from slipway_core.manifest import ParityRecord
from slipway_core.tensors import Array
from slipway_export.config import decoder_config, graph_config
from slipway_export.graph import prepend_image_preparation, published_form
from slipway_export.parity import Model, check_parity
from slipway_export.progress import Progress, tell
from slipway_export.publish import Part
from slipway_export.runtime import Session
from slipway_export.samples import read_samples
from slipway_export.signature import IMAGE_TENSOR, graph_signature
from slipway_export.sources import Built, SourceModel, open_source, read_source

_IMAGE_MODEL = Path(__file__).parent / "image_model"


@dataclass(frozen=True)
class Conversion:
    """What publishing needs: the parts of the version, the model last, and the facts of its manifest."""

    parts: tuple[Part, ...]
    parity: ParityRecord
    source_sha256: str
    opset: int
    ir_version: int
    libraries: tuple[str, ...]


def converted(card: ModelCard, progress: Progress, *, allow_pickle: bool = False) -> Conversion:
    """Load, convert and compare. Raises :class:`ExportFailed` and its kind; writes nothing."""
    tell(progress, "load", f"{card.source.kind} model {card.source.origin}")
    content = read_source(card)
    source = open_source(card, content, allow_pickle=allow_pickle)
    for remark in source.remarks if isinstance(source, Built) else ():
        tell(progress, "load", remark)
    samples = read_samples(card)

    tell(progress, "convert", f"to ONNX for {card.net_name}")
    graph = _graph_of(card, source)

    most = card.batching.max_batch_size
    filled = f", repeated to fill a batch of {most}" if len(samples) < most else ""
    tell(progress, "parity", f"on {len(samples)} samples{filled}")
    session = Session(card.name, graph)
    parity = check_parity(card, samples, _reference(card, source), session.run, graph_signature(card).outputs)

    model = onnx.load_model_from_string(graph)
    return Conversion(
        parts=_parts(card, graph),
        parity=parity,
        source_sha256=source.sha256 if isinstance(source, Built) else hashlib.sha256(content).hexdigest(),
        opset=next((entry.version for entry in model.opset_import if not entry.domain), 1),
        ir_version=model.ir_version,
        libraries=("numpy", "onnx", "onnxruntime", *source.libraries),
    )


def _graph_of(card: ModelCard, source: SourceModel) -> bytes:
    surgery = source.to_onnx()
    if card.image is not None:
        prepend_image_preparation(surgery, card.image)
    return published_form(surgery, card.net_name, graph_signature(card))


def _reference(card: ModelCard, source: SourceModel) -> Model:
    """The source model from the published graph's inputs on: images are prepared with numpy."""
    image = card.image
    if image is None:
        return source.predict

    def predict(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return source.predict({IMAGE_TENSOR: normalised(inputs[IMAGE_TENSOR], image)})

    return predict


def _parts(card: ModelCard, graph: bytes) -> tuple[Part, ...]:
    labels = card.output.labels
    for label in labels:
        if not label.strip() or "\n" in label:
            raise ExportFailed(card.name, f"the label {label!r} must be a line of text; mend the card's output.labels")
    net = Part(card.net_name, lambda live: graph_config(card, live), labels, {ONNX_FILE: graph})
    if card.image is None:
        return (net,)
    files = {name: (_IMAGE_MODEL / name).read_bytes() for name in ("model.py", "lanes.py", "decoding.py")}
    files["image.json"] = (card.image.model_dump_json(indent=2) + "\n").encode()
    return net, Part(card.name, lambda live: decoder_config(card, live), labels, files)
