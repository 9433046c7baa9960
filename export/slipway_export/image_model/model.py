"""The Triton model that takes image files: decodes them and asks the net of its own version.

Copied into every published version beside ``decoding.py``, ``lanes.py`` and ``image.json``; runs in Triton's python
backend. A request that cannot be decoded fails alone: ``image <i>: <reason>``, with i counted from 0 within the
request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from PIL.Image import Image

# Triton imports this file as ``<n>.model``, so that each version finds its own neighbours.
from .decoding import ImageRefused, Pixels, Preparation, opened, pixels_of
from .lanes import Lanes, Outcome

# A request of more pixels is answered beside its execution. Decoding it takes so long (5 ms and more) that a call to
# the net of its own is no loss, and Triton hands over no further requests before an execution ends.
LARGE = 1_000_000

_BINDINGS = "Failed for execute the inference request. "
_PASSING = ("is not ready", "is not found", "unknown model", "maximum queue size", "unloading")

Answers = dict[str, npt.NDArray[Any]]


class NetFailed(Exception):
    """The net gave no answer; ``code`` is Triton's."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message, self.code = message, code


@dataclass(frozen=True)
class _Asked:
    """A request without its place in shared memory: the outputs it wants and its images, or why it is refused."""

    wanted: frozenset[str]
    images: Sequence[Image]
    pixels: int
    refusal: str = ""

    @property
    def is_large(self) -> bool:
        return self.pixels > LARGE


class TritonPythonModel:
    """Bytes in, the net's answers out; one call to the net per execution, and one per large request."""

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
        self._lanes = Lanes(self._how)
        queue = config.get("dynamic_batching", {}).get("default_queue_policy", {})
        self._most_waiting = int(queue.get("max_queue_size", 0))
        self._later: set[asyncio.Task[None]] = set()

    async def execute(self, requests: Sequence[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse | None]:
        """One response per request, in order; None for the large ones, whose responses come when they are done."""
        all_asked = [self._asked(request) for request in requests]
        responses: list[pb_utils.InferenceResponse | None] = [None] * len(requests)
        here = [at for at, asked in enumerate(all_asked) if not asked.is_large]
        for at, asked in enumerate(all_asked):
            if asked.is_large:
                responses[at] = self._begun(asked, requests[at])
        now = [all_asked[at] for at in here]
        # Threads decode while this waits: an execution of small requests is over in milliseconds.
        outcomes = self._lanes.at_once([asked.images for asked in now])
        for at, response in zip(here, await self._answered(now, outcomes), strict=True):
            responses[at] = response
        return responses

    def finalize(self) -> None:
        self._lanes.close()

    def _asked(self, request: pb_utils.InferenceRequest) -> _Asked:
        wanted = frozenset(request.requested_output_names())
        tensor = pb_utils.get_input_tensor_by_name(request, "image")
        files = [] if tensor is None else tensor.as_numpy().reshape(-1).tolist()
        images: list[Image] = []
        try:
            for data in files:
                images.append(opened(data, self._how))
        except ImageRefused as e:
            return _Asked(wanted, (), 0, f"image {len(images)}: {e}")
        try:
            return _Asked(wanted, images, pixels_of(images, self._how))
        except ImageRefused as e:
            return _Asked(wanted, (), 0, str(e))

    def _begun(self, asked: _Asked, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse | None:
        """Begin to answer a large request, or refuse it where as many wait as the model's queue may hold."""
        if 0 < self._most_waiting <= len(self._later):
            full = pb_utils.TritonError("Exceeds maximum queue size", pb_utils.TritonError.UNAVAILABLE)
            return pb_utils.InferenceResponse([], full)
        task = asyncio.get_running_loop().create_task(self._answer_later(asked, request.get_response_sender()))
        self._later.add(task)  # a loop holds its tasks weakly
        task.add_done_callback(self._later.discard)
        return None

    async def _answer_later(self, asked: _Asked, sender: pb_utils.InferenceResponseSender) -> None:
        try:
            outcome = await self._lanes.in_turns(asked.images, sender.is_cancelled)
            (response,) = await self._answered([asked], [outcome])
        except Exception as e:  # whatever it is, the caller must not wait for ever
            failed = pb_utils.TritonError(f"cannot be answered ({type(e).__name__})", pb_utils.TritonError.INTERNAL)
            response = pb_utils.InferenceResponse([], failed)
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    async def _answered(
        self, all_asked: Sequence[_Asked], outcomes: Sequence[Outcome]
    ) -> list[pb_utils.InferenceResponse]:
        """The responses to requests that share one call to the net."""
        refusals = [
            asked.refusal or (outcome if isinstance(outcome, str) else "")
            for asked, outcome in zip(all_asked, outcomes, strict=True)
        ]
        images = [[] if isinstance(outcome, str) else outcome for outcome in outcomes]
        answerable = [asked for asked, refusal in zip(all_asked, refusals, strict=True) if not refusal]
        wanted = [name for name in self._outputs if any(name in asked.wanted for asked in answerable)]
        try:
            answers = await self._ask([one for own in images for one in own], wanted)
        except NetFailed as e:
            answers = pb_utils.TritonError(e.message, e.code)
        responses: list[pb_utils.InferenceResponse] = []
        at = 0
        for asked, refusal, own in zip(all_asked, refusals, images, strict=True):
            share = slice(at, at + len(own))
            at += len(own)
            responses.append(_refused(refusal) if refusal else self._response(asked, answers, share))
        return responses

    def _response(
        self, asked: _Asked, answers: Answers | pb_utils.TritonError, share: slice
    ) -> pb_utils.InferenceResponse:
        if isinstance(answers, pb_utils.TritonError):
            return pb_utils.InferenceResponse([], answers)
        names = [name for name in self._outputs if name in asked.wanted]
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, answers[name][share]) for name in names])

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


def _refused(reason: str) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse([], pb_utils.TritonError(reason, pb_utils.TritonError.INVALID_ARG))
