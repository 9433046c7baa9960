"""Arrays <-> Triton's inference messages. Tensors travel as raw bytes only, never as protobuf lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from slipway_core.errors import InferenceFailed, InvalidInput
from slipway_core.images import IMAGE_TENSOR
from slipway_core.tensors import Array, datatype_of, decode_tensor, encode_tensor


def infer_request(
    model: str, version: str, tensors: Mapping[str, Array], outputs: Sequence[str] = ()
) -> pb.ModelInferRequest:
    """A request for these tensors; without ``outputs`` the model answers all it has.

    Raises :class:`InvalidInput` for text that has no UTF-8 form.
    """
    request = pb.ModelInferRequest(model_name=spelled(model), model_version=spelled(version))
    for name, array in tensors.items():
        tensor = request.inputs.add()
        tensor.name, tensor.datatype = name, datatype_of(array)
        tensor.shape.extend(array.shape)
        try:
            request.raw_input_contents.append(encode_tensor(array))
        except UnicodeEncodeError as e:
            half = f"\\u{ord(e.object[e.start]):04x}"
            raise InvalidInput(f"{name!r} holds half a surrogate pair ({half}), which no UTF-8 text can hold") from None
    for name in outputs:
        request.outputs.add().name = name
    return request


def spelled(name: str) -> str:
    """The name as protobuf can carry it: a byte of the command line that was no UTF-8 becomes an escape."""
    return name.encode("utf-8", "backslashreplace").decode()


def output_tensors(response: pb.ModelInferResponse) -> dict[str, Array]:
    """The arrays of an answer. Raises :class:`InferenceFailed` for one that is not whole."""
    if len(response.raw_output_contents) != len(response.outputs):
        raise InferenceFailed(
            response.model_name,
            f"it answered {len(response.outputs)} outputs with the content of {len(response.raw_output_contents)}",
        )
    try:
        return {
            output.name: decode_tensor(raw, output.datatype, tuple(output.shape))
            for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
        }
    except InvalidInput as e:
        raise InferenceFailed(response.model_name, f"its answer cannot be read: {e}") from None


def image_tensors(images: Sequence[bytes]) -> dict[str, Array]:
    """Encoded images as the input of an image model: BYTES ``[n, 1]``."""
    array = np.empty((len(images), 1), dtype=np.object_)
    array[:, 0] = images
    return {IMAGE_TENSOR: array}
