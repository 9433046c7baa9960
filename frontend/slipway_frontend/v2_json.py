"""The Open Inference Protocol's JSON <-> Triton's messages. Tensors go as raw bytes from here on.

Triton's own limits hold: FP16 and BF16 have no JSON form, and NaN and infinities are written bare. They are not
taken, though, where Triton would: in JSON they are a number gone wrong on its way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain
from typing import Any, cast

import numpy as np
from tritonclient.grpc import service_pb2 as pb

from slipway_core.errors import InferenceFailed, InvalidInput
from slipway_core.tensors import DATATYPES, Array, decode_tensor, encode_tensor, numpy_dtype
from slipway_frontend.answers import dumped, dumped_with
from slipway_frontend.json_bodies import as_json, as_text, count_of, signs
from slipway_frontend.offload import LARGE_BYTES

_NO_JSON = ("FP16", "BF16")
_INTEGERS = frozenset({int})
_TAKES: dict[str, frozenset[type]] = {
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), _INTEGERS),
    "FP32": frozenset({int, float}),
    "FP64": frozenset({int, float}),
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
}
_WORDS = {bool: "true or false", int: "a whole number", float: "a fraction", str: "a string"}
_MAX_DIMENSIONS = 32
_MAX_PARTS = 250_000
# Triton would read and write any process's region that is registered with it.
_SHARED_MEMORY = "shared_memory_"
_SLICE = 10_000  # elements that become an array in one step


def request_of(text: bytes, model: str, version: str) -> pb.ModelInferRequest:
    """The message for a JSON body. Raises :class:`InvalidInput` that names the input and what is wrong with it."""
    if len(text) > LARGE_BYTES:
        _refuse_many_parts(text)
    body = _object(as_json(as_text(text), distinct=True), "the body")
    request = pb.ModelInferRequest(model_name=model, model_version=version, id=_text(body.get("id", ""), "'id'"))
    _set_parameters(request.parameters, body.get("parameters"), "'parameters'")
    inputs = body.get("inputs")
    if not isinstance(inputs, list):
        raise InvalidInput("the body has no list 'inputs'")
    for at, tensor in enumerate(cast(list[Any], inputs)):
        _add_input(request, _object(tensor, f"input {at}"), at)
    outputs = body.get("outputs", [])
    if not isinstance(outputs, list):
        raise InvalidInput("'outputs' must be a list")
    for at, given in enumerate(cast(list[Any], outputs)):
        output = _object(given, f"output {at}")
        wanted = request.outputs.add(name=_text(output.get("name"), f"output {at}: 'name'"))
        _set_parameters(wanted.parameters, output.get("parameters"), f"output {at}: 'parameters'")
    return request


def _refuse_many_parts(text: bytes) -> None:
    """Numbers are cheap; lists, objects and names cost many times as much, and a request needs few."""
    parts = count_of(signs(text), "[", "{", ":")
    if parts > _MAX_PARTS:
        raise InvalidInput(
            f"the body holds {parts} lists, objects and names, more than the {_MAX_PARTS} that are read; "
            "send 'data' as one flat list"
        )


def size_of(reply: pb.ModelInferResponse) -> int:
    """About how many bytes :func:`answer_of` will handle."""
    return sum(map(len, reply.raw_output_contents))


def answer_of(reply: pb.ModelInferResponse) -> str:
    """The JSON for an answer; ``id`` and ``parameters`` appear only where Triton gave some."""
    answer: dict[str, Any] = {"id": reply.id} if reply.id else {}
    answer |= {"model_name": reply.model_name, "model_version": reply.model_version}
    if reply.parameters:
        answer["parameters"] = _parameters(reply.parameters)
    outputs = [
        _output(reply.model_name, output, raw)
        for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
    ]
    return f'{dumped(answer)[:-1]},"outputs":[{",".join(outputs)}]}}'


def _add_input(request: pb.ModelInferRequest, tensor: Mapping[str, Any], at: int) -> None:
    name = _text(tensor.get("name"), f"input {at}: 'name'")
    where = f"input {name[:100]!r}"
    shape, datatype = _shape(tensor.get("shape"), where), _text(tensor.get("datatype"), f"{where}: 'datatype'")
    if datatype in _NO_JSON:
        raise InvalidInput(f"{where}: {datatype} has no JSON form; use binary data or gRPC")
    if datatype not in DATATYPES:
        raise InvalidInput(f"{where}: datatype {datatype[:20]!r} is not one of {', '.join(DATATYPES)}")
    if "data" not in tensor:
        raise InvalidInput(f"{where} has no 'data'")
    array = _array(tensor["data"], datatype, where)
    if array.size != np.prod(shape, dtype=object):
        raise InvalidInput(f"{where}: {array.size} elements do not fill the shape {shape}")
    added = request.inputs.add(name=name, datatype=datatype, shape=shape)
    _set_parameters(added.parameters, tensor.get("parameters"), f"{where}: 'parameters'")
    request.raw_input_contents.append(encode_tensor(array))


def _array(data: Any, datatype: str, where: str) -> Array:
    """The data, flat or nested, as a flat array of the datatype; nothing is rounded or parsed on the way."""
    elements = _flat(data, where)
    if len(elements) <= _SLICE:
        return _slice_as_array(elements, 0, datatype, where)
    starts = range(0, len(elements), _SLICE)
    return np.concatenate([_slice_as_array(elements[at : at + _SLICE], at, datatype, where) for at in starts])


def _slice_as_array(elements: list[Any], start: int, datatype: str, where: str) -> Array:
    """Some of an input's elements; ``start`` is the place of the first."""
    types = set(map(type, elements))
    if not types <= _TAKES[datatype]:
        wrong = sorted(_WORDS.get(kind, "an object or null") for kind in types - _TAKES[datatype])
        raise InvalidInput(f"{where}: 'data' holds {' and '.join(wrong)}, which a {datatype} tensor cannot")
    dtype = numpy_dtype(datatype)
    if dtype.kind in "iu" and elements:
        limits = np.iinfo(dtype)
        if min(elements) < limits.min or max(elements) > limits.max:
            raise InvalidInput(f"{where}: {datatype} takes {limits.min} to {limits.max}")
    try:
        with np.errstate(over="ignore"):
            array = np.array(elements, dtype=dtype)
    except OverflowError:
        raise InvalidInput(f"{where}: 'data' holds a number too large for {datatype}") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array))[0])
        if math.isfinite(elements[at]):
            raise InvalidInput(f"{where}: element {start + at} of 'data' is too large for {datatype}: {elements[at]:g}")
        raise InvalidInput(f"{where}: element {start + at} of 'data' is not a finite number (NaN, or beyond 1.8e308)")
    return array


def _flat(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise InvalidInput(f"{where}: 'data' must be a list")
    elements = cast(list[Any], data)
    while elements and type(elements[0]) is list:
        if any(type(element) is not list for element in elements):
            break
        elements = list(chain.from_iterable(elements))
    if any(type(element) is list for element in elements):
        raise InvalidInput(f"{where}: 'data' is nested unevenly")
    return elements


def _output(model: str, output: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> str:
    if output.datatype in _NO_JSON:
        raise InvalidInput(f"output {output.name!r}: {output.datatype} has no JSON form; use gRPC")
    try:
        data = decode_tensor(raw, output.datatype, tuple(output.shape)).reshape(-1)
    except InvalidInput as e:
        raise InferenceFailed(model, f"its output {output.name!r} cannot be read: {e}") from None
    shown: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
    if output.parameters:
        shown["parameters"] = _parameters(output.parameters)

    def as_json(elements: Array) -> list[Any]:
        return _strings(elements.tolist(), output.name) if output.datatype == "BYTES" else elements.tolist()

    return dumped_with(shown, "data", data, as_json)


def _strings(elements: list[bytes], name: str) -> list[str]:
    try:
        return [element.decode("utf-8") for element in elements]
    except UnicodeDecodeError:
        raise InvalidInput(f"output {name!r} holds bytes that are no text, which JSON cannot carry; use gRPC") from None


def _shape(value: Any, where: str) -> list[int]:
    if not isinstance(value, list) or len(cast(list[Any], value)) > _MAX_DIMENSIONS:
        raise InvalidInput(f"{where}: 'shape' must be a list of whole numbers")
    for size in cast(list[Any], value):
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
            raise InvalidInput(f"{where}: 'shape' must be a list of whole numbers from 0")
    return cast(list[int], value)


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} must be an object")
    return cast(dict[str, Any], value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{where} must be a string")
    return value


def _set_parameters(to: Any, given: Any, where: str) -> None:
    if given is None:
        return
    for key, value in _object(given, where).items():
        if key.startswith("triton_"):
            raise InvalidInput(f"{where}: names that start with 'triton_' are Triton's own, got {key[:100]!r}")
        if key.startswith(_SHARED_MEMORY):
            raise InvalidInput(f"{where}: {key[:100]!r}: shared memory is not offered here; send the data itself")
        if isinstance(value, bool):
            to[key].bool_param = value
        elif isinstance(value, int) and -(2**63) <= value < 2**63:
            _set_integer(to[key], key, value)
        elif isinstance(value, int) and 0 <= value < 2**64:
            to[key].uint64_param = value
        elif isinstance(value, float):
            to[key].double_param = value
        elif isinstance(value, str):
            to[key].string_param = value
        else:
            raise InvalidInput(f"{where}: {key[:100]!r} must be a string, a number, true or false")


def _set_integer(parameter: Any, key: str, value: int) -> None:
    # The one parameter that Triton reads from another field than all other integers.
    if key == "priority" and value >= 0:
        parameter.uint64_param = value
    else:
        parameter.int64_param = value


def _parameters(given: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    return {key: getattr(value, value.WhichOneof("parameter_choice") or "string_param") for key, value in given.items()}
