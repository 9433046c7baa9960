"""``config.pbtxt``, written and read through Triton's own protobuf. The same card gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import (
    DataType,
    ModelConfig,
    ModelInput,
    ModelInstanceGroup,
    ModelOutput,
    ModelWarmup,
)

from slipway_core.batching import Batching
from slipway_core.card import ModelCard
from slipway_core.errors import RepositoryBroken
from slipway_core.layout import LABELS_FILE
from slipway_core.predictions import PROBABILITIES_TENSOR
from slipway_core.served import Role, parameters_of
from slipway_core.tensors import TensorSpec
from slipway_export.signature import Signature, decoder_signature, graph_signature

HEADER = "# Written by slipway from the model's card; change the card and export again.\n"
_KINDS = {
    "auto": ModelInstanceGroup.KIND_AUTO,
    "cpu": ModelInstanceGroup.KIND_CPU,
    "gpu": ModelInstanceGroup.KIND_GPU,
}


def graph_config(card: ModelCard, versions: Sequence[int]) -> ModelConfig:
    """Of the Triton model that runs the ONNX graph: the card's own, or the net of an image model."""
    role: Role = "model" if card.image is None else "net"
    config = _base(card, card.net_name, graph_signature(card), role, versions)
    config.platform = "onnxruntime_onnx"
    group = config.instance_group.add()
    group.count = card.instances.count
    group.kind = _KINDS[card.instances.kind]
    if card.instances.intra_op_threads:
        config.parameters["intra_op_thread_count"].string_value = str(card.instances.intra_op_threads)
    # Behind a decoder the queue is where images wait for their batch; waiting again here would only add time.
    _batch(config, card.batching, delay=card.image is None)
    config.model_warmup.append(_warmup(config.input))
    return config


def decoder_config(card: ModelCard, versions: Sequence[int]) -> ModelConfig:
    """Of the Triton model that takes an image model's files and calls the net.

    It has no warm-up: that would call the net, which Triton may load later. Its first request costs no more
    than any other, since decoding has nothing to compile.
    """
    config = _base(card, card.name, decoder_signature(card), "model", versions)
    config.backend = "python"
    # One process decodes in as many threads as there are cores; a second one would split the batches.
    group = config.instance_group.add()
    group.count = 1
    group.kind = ModelInstanceGroup.KIND_CPU
    _batch(config, card.batching, delay=True)
    return config


def as_text(config: ModelConfig) -> str:
    """The file's content."""
    return HEADER + text_format.MessageToString(config, as_utf8=True)


def read_config(path: Path) -> ModelConfig:
    """Read a ``config.pbtxt``. Raises :class:`RepositoryBroken` with the line, or when the file is not there."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), ModelConfig())
    except OSError as e:
        raise RepositoryBroken(str(path), f"cannot be read ({e.strerror})") from None
    except (text_format.ParseError, UnicodeDecodeError) as e:
        raise RepositoryBroken(str(path), f"is no model configuration ({e})") from None


def _base(card: ModelCard, name: str, signature: Signature, role: Role, versions: Sequence[int]) -> ModelConfig:
    config = ModelConfig(name=name, max_batch_size=card.batching.max_batch_size)
    config.input.extend(_input(spec) for spec in signature.inputs)
    config.output.extend(_output(card, spec) for spec in signature.outputs)
    config.version_policy.specific.versions.extend(versions)
    for key, value in parameters_of(card, role).items():
        config.parameters[key].string_value = value
    return config


def _input(spec: TensorSpec) -> ModelInput:
    return ModelInput(name=spec.name, data_type=_datatype(spec), dims=spec.shape)


def _output(card: ModelCard, spec: TensorSpec) -> ModelOutput:
    output = ModelOutput(name=spec.name, data_type=_datatype(spec), dims=spec.shape)
    if spec.name == PROBABILITIES_TENSOR and card.output.labels:
        output.label_filename = LABELS_FILE  # for Triton's classification extension
    return output


def _datatype(spec: TensorSpec) -> DataType:
    return cast(DataType, DataType.Value("TYPE_STRING" if spec.datatype == "BYTES" else f"TYPE_{spec.datatype}"))


def _batch(config: ModelConfig, batching: Batching, *, delay: bool) -> None:
    if not batching.dynamic:
        return
    config.dynamic_batching.SetInParent()  # an empty block is what switches it on
    config.dynamic_batching.preferred_batch_size.extend(batching.preferred_batch_sizes)
    if delay and batching.queue_delay_us:
        config.dynamic_batching.max_queue_delay_microseconds = batching.queue_delay_us
    if batching.max_queue_size:
        config.dynamic_batching.default_queue_policy.max_queue_size = batching.max_queue_size


def _warmup(inputs: Sequence[ModelInput]) -> ModelWarmup:
    """One item of zeros before the model counts as ready: the first request must not pay for the runtime's set-up."""
    warmup = ModelWarmup(name="one_item_of_zeros", batch_size=1)
    for tensor in inputs:
        warmup.inputs[tensor.name].data_type = tensor.data_type
        warmup.inputs[tensor.name].dims.extend(tensor.dims)
        warmup.inputs[tensor.name].zero_data = True
    return warmup
