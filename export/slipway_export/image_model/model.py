"""The Triton model that takes image files: decodes them and asks the net of its own version.

Copied into every published version beside ``decoding.py`` and ``image.json``; runs in Triton's python backend.
A request that cannot be decoded fails alone: ``image <i>: <reason>``, with i counted from 0 within the request.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

# Triton imports this file as ``<n>.model``, so that each version finds its own neighbour.
from .decoding import ImageRefused, Pixels, Preparation, prepared

_BINDINGS = "Failed for execute the inference request. "
_PASSING = ("is not ready", "is not found", "unknown model", "maximum queue size", "unloading")

Answers = dict[str, npt.NDArray[Any]]


class NetFailed(Exception):
    """The net gave no answer; ``code`` is Triton's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message, self.code = message, code


class TritonPythonModel:
    """Bytes in, the net's answers out; one call to the net per execution, whatever number of requests it has."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        self._net = f"{args['model_name']}_net"
        self._version = int(args["model_version"])
        self._outputs = {
            output["name"]: (
                [int(size) for size in output["dims"]],
                pb_utils.triton_string_to_numpy(output["data_type"]),
            )
            for output in config["output"]
        }
        self._how = Preparation.from_json(Path(__file__).with_name("image.json").read_text(encoding="utf-8"))
        # Pillow lets go of the interpreter's lock while it decodes and resamples.
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="decode")

    async def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """One response per request, in order."""
        pending = [self._started(request) for request in requests]
        decoded = [_finished(futures) for futures in pending]
        batch = [pixels for images in decoded if isinstance(images, list) for pixels in images]
        try:
            answers = await self._ask(batch, self._wanted(requests))
        except NetFailed as e:
            answers = pb_utils.TritonError(e.message, e.code)
        return self._responses(requests, decoded, answers)

    def finalize(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _started(self, request: pb_utils.InferenceRequest) -> list[Future[Pixels]]:
        tensor = pb_utils.get_input_tensor_by_name(request, "image")
        files = [] if tensor is None else tensor.as_numpy().reshape(-1).tolist()
        return [self._pool.submit(prepared, data, self._how) for data in files]

    def _wanted(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[str]:
        asked = {name for request in requests for name in request.requested_output_names()}
        return [name for name in self._outputs if name in asked]

    async def _ask(self, batch: list[Pixels], wanted: list[str]) -> Answers:
        """The net's answers to all images; raises :class:`NetFailed`, so that no failure is taken for an answer."""
        if not batch:  # every image was refused, or the requests hold none
            return {name: np.empty((0, *self._outputs[name][0]), self._outputs[name][1]) for name in wanted}
        call = pb_utils.InferenceRequest(
            model_name=self._net,
            model_version=self._version,
            requested_output_names=wanted,
            inputs=[pb_utils.Tensor("image", np.stack(batch))],
            # A net on a GPU would otherwise answer in its memory, where numpy cannot look.
            preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),
        )
        try:
            response = await call.async_exec()
        except Exception as e:  # the bindings have one exception for everything
            raise self._failed(str(e), pb_utils.TritonError.INTERNAL) from None
        if response.has_error():
            raise self._failed(response.error().message(), response.error().code())
        return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}

    def _failed(self, message: str, code: int) -> NetFailed:
        """The bindings call every failure internal; a net that is absent or full may well answer later."""
        passing = any(sign in message for sign in _PASSING)
        reason = message.rpartition(_BINDINGS)[2].rstrip(".")
        return NetFailed(
            f"{self._net} version {self._version}: {reason}", pb_utils.TritonError.UNAVAILABLE if passing else code
        )

    def _responses(
        self,
        requests: Sequence[pb_utils.InferenceRequest],
        decoded: Sequence[list[Pixels] | str],
        answers: Answers | pb_utils.TritonError,
    ) -> list[pb_utils.InferenceResponse]:
        responses: list[pb_utils.InferenceResponse] = []
        at = 0
        for request, images in zip(requests, decoded, strict=True):
            if isinstance(images, str):
                refused = pb_utils.TritonError(images, pb_utils.TritonError.INVALID_ARG)
                responses.append(pb_utils.InferenceResponse([], refused))
            elif isinstance(answers, pb_utils.TritonError):
                responses.append(pb_utils.InferenceResponse([], answers))
            else:
                own = slice(at, at + len(images))
                at += len(images)
                names = [name for name in self._outputs if name in request.requested_output_names()]
                responses.append(
                    pb_utils.InferenceResponse([pb_utils.Tensor(name, answers[name][own]) for name in names])
                )
        return responses


def _finished(futures: Sequence[Future[Pixels]]) -> list[Pixels] | str:
    """A request's images, or why it is refused."""
    images: list[Pixels] = []
    refusal = ""
    for position, future in enumerate(futures):
        try:
            images.append(future.result())
        except ImageRefused as e:
            refusal = refusal or f"image {position}: {e}"
        except Exception as e:  # a fault of ours, or no memory: it must not fail the request's neighbours
            refusal = refusal or f"image {position}: cannot be decoded ({type(e).__name__})"
    return refusal or images
