"""Triton's ONNX Runtime backend, in Python: what ``onnxruntime_onnx`` means where no native backend is installed.

Triton takes this file for every model whose config says ``onnxruntime``. The requests of one execution are joined
into one run of the graph and the results split again; a request that cannot be answered fails alone.
"""

from __future__ import annotations

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
    from slipway_serving.backends.onnxruntime.slipway_ort.graph import Served, completion, contract, needs_completion
    from slipway_serving.backends.onnxruntime.slipway_ort.session import Session, available_providers
    from slipway_serving.backends.onnxruntime.slipway_ort.settings import (
        Settings,
        model_file,
        providers_of,
        settings_of,
    )
else:  # Triton imports this file by itself, with its folder on the path
    from slipway_ort.graph import Served, completion, contract, needs_completion
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
        # Triton imports it in the first execution, where a client would wait for it.
        importlib.import_module("asyncio")

    def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> Sequence[pb_utils.InferenceResponse | None]:
        """Answer every request, in order; what can be run together is."""
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
            self._answer(requests, members, responses)
        return responses

    def _feeds(self, request: pb_utils.InferenceRequest) -> Feeds:
        """The request's tensors as the graph takes them: views of Triton's memory, except text."""
        feeds: Feeds = {}
        for tensor in request.inputs():
            name, array = tensor.name(), tensor.as_numpy()
            served = self._inputs.get(name)
            if served is None:
                continue
            if served.is_text:
                array = _text(name, array)
            feeds[name] = array if served.scalar_dims is None else array.reshape(())
        return feeds

    def _shapes(self, feeds: Feeds, at: int) -> Shapes:
        """Equal for requests that can be joined; nothing to compare where Triton lets only one shape through."""
        if not self._contract.batches:
            return ((at,),)
        if self._contract.fixed_shape:
            return ()
        return tuple(feeds[name].shape[1:] for name in self._inputs if name in feeds)

    def _answer(
        self, requests: Sequence[pb_utils.InferenceRequest], members: list[tuple[int, Feeds]], responses: Slots
    ) -> None:
        """Run requests together, and one by one when that fails, so that only the guilty ones fail."""
        wanted = self._wanted([requests[at] for at, _ in members])
        try:
            answers = self._run([feeds for _, feeds in members], wanted)
        except Exception as e:
            if len(members) > 1:
                for member in members:
                    self._answer(requests, [member], responses)
            else:
                responses[members[0][0]] = _failure(*_reason(e))
            return
        for (at, _), answer in zip(members, answers, strict=True):
            responses[at] = answer

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
        if len(feeds) == 1:
            results = self._session.run(wanted, feeds[0])
            parts = [results]
        else:
            joined = {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}
            results = self._session.run(wanted, joined)
            first = next(iter(joined))
            ends = [0, *accumulate(len(each[first]) for each in feeds)]
            parts = [[result[begin:end] for result in results] for begin, end in pairwise(ends)]
        if self._contract.batches:
            _check_batch(wanted, results, sum(len(next(iter(each.values()))) for each in feeds))
        return [_response(wanted, part, self._contract.outputs) for part in parts]


def _response(names: list[str], arrays: Sequence[Array], outputs: Mapping[str, Served]) -> pb_utils.InferenceResponse:
    tensors: list[pb_utils.Tensor] = []
    for name, array in zip(names, arrays, strict=True):
        dims = outputs[name].scalar_dims
        tensors.append(pb_utils.Tensor(name, array if dims is None else array.reshape(dims)))
    return pb_utils.InferenceResponse(tensors)


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
