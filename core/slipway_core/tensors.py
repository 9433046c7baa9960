"""Tensors as Triton names them: datatypes, specs, and the wire form of BYTES.

Source of the names and of the BYTES form (4-byte little-endian length, then the bytes, element after element):
Triton's "Binary Tensor Data" extension of the Open Inference Protocol.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from slipway_core.errors import InvalidInput

Array: TypeAlias = npt.NDArray[Any]
Datatype: TypeAlias = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)

_TO_NUMPY: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}
_FROM_NUMPY: dict[np.dtype[Any], Datatype] = {np.dtype(t): d for d, t in _TO_NUMPY.items()}  # type: ignore[misc]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output as a model declares it.

    ``shape`` holds one item's dimensions, without the batch axis; -1 stands for any length.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype}{list(self.shape)}"


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """The numpy dtype that holds a Triton datatype; BYTES is an object array of ``bytes``."""
    if datatype not in _TO_NUMPY:
        raise InvalidInput(f"datatype {datatype!r} is not one of {', '.join(DATATYPES)}")
    return np.dtype(_TO_NUMPY[datatype])


def datatype_of(array: Array) -> Datatype:
    """Triton's name for an array's dtype; strings and bytes of any width are BYTES."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    found = _FROM_NUMPY.get(array.dtype.newbyteorder("="))
    if found is None:
        raise InvalidInput(f"numpy dtype {array.dtype} has no Triton datatype")
    return found


def encode_tensor(array: Array) -> bytes:
    """The tensor's raw bytes, row by row, little-endian."""
    if array.dtype.kind in "OSU":
        return encode_bytes_tensor(array)
    return np.ascontiguousarray(array).tobytes()


def encode_bytes_tensor(array: Array) -> bytes:
    """BYTES elements in row-major order; ``str`` is encoded as UTF-8."""
    parts: list[bytes] = []
    for element in array.ravel().tolist():
        if not isinstance(element, bytes | str):
            raise InvalidInput(f"a BYTES tensor holds bytes or str, got {type(element).__name__}")
        encoded = element.encode() if isinstance(element, str) else element
        parts += (struct.pack("<I", len(encoded)), encoded)
    return b"".join(parts)


def decode_tensor(raw: bytes | memoryview, datatype: str, shape: tuple[int, ...]) -> Array:
    """The array behind raw bytes: a read-only view without a copy, except for BYTES.

    Raises :class:`InvalidInput` when the bytes do not fill the shape exactly.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if datatype == "BYTES":
        return decode_bytes_tensor(raw, count).reshape(shape)
    dtype = numpy_dtype(datatype)
    if len(raw) != count * dtype.itemsize:
        raise InvalidInput(
            f"{len(raw)} bytes do not fill a {datatype} tensor of shape {list(shape)} ({count * dtype.itemsize} bytes)"
        )
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


def decode_bytes_tensor(raw: bytes | memoryview, count: int) -> Array:
    """``count`` BYTES elements, flat."""
    elements: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        if end - at < 4:
            raise InvalidInput("a BYTES tensor is cut off inside an element's length")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if length > end - at:
            raise InvalidInput(f"a BYTES element claims {length} bytes where {end - at} are left")
        elements.append(bytes(raw[at : at + length]))
        at += length
    if len(elements) != count:
        raise InvalidInput(f"a BYTES tensor of {count} elements holds {len(elements)}")
    array = np.empty(count, dtype=np.object_)
    array[:] = elements
    return array
