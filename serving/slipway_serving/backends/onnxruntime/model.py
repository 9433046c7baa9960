"""Triton's ONNX Runtime backend, in Python: what ``onnxruntime_onnx`` means where no native backend is installed.

Triton takes this file for every model whose config says ``onnxruntime``. The requests of one execution are joined
into one run of the graph and the results split again; a request that cannot be answered fails alone.
"""

from __future__ import annotations

import gc
import importlib
import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from slipway_serving.backends.onnxruntime.slipway_ort.graph import completion, contract, needs_completion
    from slipway_serving.backends.onnxruntime.slipway_ort.session import Session, available_providers
    from slipway_serving.backends.onnxruntime.slipway_ort.settings import (
        Settings,
        model_file,
        providers_of,
        settings_of,
    )
else:  # Triton imports this file by itself, with its folder on the path
    from slipway_ort.graph import completion, contract, needs_completion
    from slipway_ort.session import Session, available_providers
    from slipway_ort.settings import Settings, model_file, providers_of, settings_of

Array: TypeAlias = npt.NDArray[Any]
Feeds: TypeAlias = dict[str, Array]
Shapes: TypeAlias = tuple[tuple[int, ...], ...]
# In quotes: the classes of pb_utils appear after this module has been imported.
Slots: TypeAlias = "list[pb_utils.InferenceResponse | None]"


class RequestRefused(Exception):
    """A request that the graph cannot be asked; its message goes to the client as an invalid argument."""


class TritonPythonModel:
    """One instance of one model: a process that Triton starts and asks."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: pb_utils.ModelConfig) -> pb_utils.ModelConfig:
        """Complete a config that names no inputs or no outputs; any other is left as it is."""
        config = auto_complete_model_config.as_dict()
        if needs_completion(config):
            session = Session(model_file(config, Path(pb_utils.get_model_dir())), Settings(level="none"))
            config.update(completion(session.graph(config["name"]), config))
        return auto_complete_model_config

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the graph and hold it against the config."""
        config = json.loads(args["model_config"])
        path = model_file(config, Path(args["model_repository"], args["model_version"]))
        kind, device = args["model_instance_kind"], int(args["model_instance_device_id"])
        self._session = Session(path, settings_of(config), providers_of(config, kind, device, available_providers()))
        self._contract = contract(self._session.graph(args["model_name"]), config)
        self._inputs = self._contract.inputs
        self._outputs = list(self._contract.outputs)
        self._scalars = {name: served.scalar_dims for name, served in self._contract.outputs.items()}
        # Triton imports it in the first execution, where a client would wait for it.
        importlib.import_module("asyncio")
        # What is loaded stays loaded: collections that go through it again and again only cost requests time.
        gc.collect()
        gc.freeze()

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> Sequence[pb_utils.InferenceResponse | None]:
        """Answer every request, in order; what can be run together is."""
        if self._contract.uniform:
            return self._answers(requests, [_views(request) for request in requests])
        responses: Slots = [None] * len(requests)
        groups: dict[Shapes, list[tuple[int, Feeds]]] = {}
        for at, request in enumerate(requests):
            try:
                feeds = self._feeds(request)
            except RequestRefused as e:
                responses[at] = _failure(str(e), pb_utils.TritonError.INVALID_ARG)
                continue
            groups.setdefault(self._shapes(feeds, at), []).append((at, feeds))
        for members in groups.values():
            answers = self._answers([requests[at] for at, _ in members], [feeds for _, feeds in members])
            for (at, _), answer in zip(members, answers, strict=True):
                responses[at] = answer
        return responses

    def _feeds(self, request: pb_utils.InferenceRequest) -> Feeds:
        """The request's tensors as the graph takes them: text as ``str``, scalars without a dimension."""
        feeds = _views(request)
        for name, array in feeds.items():
            served = self._inputs[name]
            if served.is_text:
                feeds[name] = _text(name, array)
            if served.scalar_dims is not None:
                feeds[name] = feeds[name].reshape(())
        return feeds

    def _shapes(self, feeds: Feeds, at: int) -> Shapes:
        """Equal for requests that can be joined."""
        if not self._contract.batches:
            return ((at,),)
        return tuple(feeds[name].shape[1:] for name in self._inputs if name in feeds)

    def _answers(
        self, requests: Sequence[pb_utils.InferenceRequest], feeds: Sequence[Feeds]
    ) -> list[pb_utils.InferenceResponse]:
        """Run requests together, and one by one when that fails, so that only the guilty ones fail."""
        try:
            return self._run(feeds, self._wanted(requests))
        except Exception as e:
            if len(feeds) == 1:
                return [_failure(*_reason(e))]
        return [self._answers([request], [each])[0] for request, each in zip(requests, feeds, strict=True)]

    def _wanted(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[str]:
        """The outputs that anyone asked for; Triton drops those that a request did not ask for."""
        if len(self._outputs) == 1:
            return self._outputs
        names: set[str] = set()
        for request in requests:
            names.update(request.requested_output_names())
        return [name for name in self._outputs if name in names]

    def _run(self, feeds: Sequence[Feeds], wanted: list[str]) -> list[pb_utils.InferenceResponse]:
        """One run of the graph for several requests' tensors, and a response for each."""
        first = feeds[0]
        if len(feeds) == 1:
            results = self._session.run(wanted, first)
            if self._contract.batches:
                _check_batch(wanted, results, len(next(iter(first.values()))))
            return [self._response(wanted, results)]
        joined = {name: np.concatenate([each[name] for each in feeds]) for name in first}
        results = self._session.run(wanted, joined)
        name = next(iter(first))
        ends = list(accumulate([len(each[name]) for each in feeds], initial=0))
        _check_batch(wanted, results, ends[-1])
        return [self._response(wanted, [result[begin:end] for result in results]) for begin, end in pairwise(ends)]

    def _response(self, names: list[str], arrays: Sequence[Array]) -> pb_utils.InferenceResponse:
        if not self._contract.batches:
            dims = [self._scalars[name] for name in names]
            arrays = [
                array if shape is None else array.reshape(shape) for array, shape in zip(arrays, dims, strict=True)
            ]
        tensor = pb_utils.Tensor
        return pb_utils.InferenceResponse([tensor(name, array) for name, array in zip(names, arrays, strict=True)])


def _views(request: pb_utils.InferenceRequest) -> Feeds:
    """The request's tensors by name, in Triton's memory."""
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _check_batch(names: Sequence[str], results: Sequence[Array], batch: int) -> None:
    for name, result in zip(names, results, strict=True):
        if not result.ndim or len(result) != batch:
            raise RuntimeError(
                f"output '{name}' has shape {list(result.shape)} for a batch of {batch}: its first dimension must be "
                "the batch; mend the graph, or say max_batch_size 0"
            )


def _text(name: str, array: Array) -> Array:
    """Bytes as ONNX Runtime takes them: ``str``."""
    flat = array.ravel()
    text = np.empty(flat.shape, np.object_)
    for at, element in enumerate(flat.tolist()):
        try:
            text[at] = element.decode()
        except UnicodeDecodeError:
            raise RequestRefused(f"input '{name}': element {at} is not UTF-8 text") from None
    return text.reshape(array.shape)


def _failure(message: str, code: int) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse([], pb_utils.TritonError(message, code))


def _reason(error: Exception) -> tuple[str, int]:
    """ONNX Runtime's complaint, and Triton's code for it."""
    codes = {
        "InvalidArgument": pb_utils.TritonError.INVALID_ARG,
        "NotImplemented": pb_utils.TritonError.UNSUPPORTED,
    }
    return f"onnx runtime: {error}", codes.get(type(error).__name__, pb_utils.TritonError.INTERNAL)
