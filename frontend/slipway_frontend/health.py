"""``/healthz`` and ``/readyz``: whether this process lives, and whether models really answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from fastapi import APIRouter
from starlette.responses import Response
from tritonclient.grpc import service_pb2 as pb

from slipway_client import ModelState, rpcs
from slipway_core.card import NET_SUFFIX
from slipway_core.errors import SlipwayError, WorkerDied
from slipway_core.tensors import encode_tensor, numpy_dtype
from slipway_frontend.answers import JsonAnswer, error_answer
from slipway_frontend.errors import answer_for, told
from slipway_frontend.inference import Inference
from slipway_frontend.schemas import errors

# A probe must hear of a Triton that hangs before its own patience ends.
READY_DEADLINE_S = 2.0
_UNLOADED = "unloaded"  # Triton's reason for a model or version that somebody took out of service on purpose


@dataclass(frozen=True)
class Readiness:
    """One model's state; ``reason`` is empty for a ready one."""

    name: str
    versions: tuple[str, ...]
    reason: str


def routes(inference: Inference) -> APIRouter:
    """The routes that load balancers and people ask for health."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Whether the frontend runs")
    async def healthz() -> Response:
        """Says nothing about Triton: a frontend without it must not be killed for it."""
        return JsonAnswer({"status": "ok"})

    @router.get("/readyz", summary="Whether every model answers", responses=errors(503))
    async def readyz() -> Response:
        """200 when Triton answers and each of its models has a live version whose worker lives; else 503.

        Models that somebody unloaded do not count.
        """
        try:
            models = await asyncio.wait_for(readiness(inference), READY_DEADLINE_S)
        except TimeoutError:
            return error_answer(
                503,
                f"Triton did not answer within {READY_DEADLINE_S:g} s",
                {"Retry-After": "2"},
                ready=False,
                models=[],
            )
        except SlipwayError as e:
            triton = inference.client.transport.address
            return _unready(answer_for(e, triton), told(e, triton))
        shown = [{"name": m.name, "ready": not m.reason, "versions": m.versions, "reason": m.reason} for m in models]
        missing = [f"{model.name} ({model.reason})" for model in models if model.reason]
        if missing:
            return error_answer(503, "not ready: " + ", ".join(missing), ready=False, models=shown)
        return JsonAnswer({"ready": True, "models": shown})

    return router


def _unready(answer: Response, message: str) -> Response:
    return error_answer(503, message, {"Retry-After": answer.headers.get("retry-after", "2")}, ready=False, models=[])


async def readiness(inference: Inference) -> list[Readiness]:
    """Every model that should answer, sorted by name. Raises what asking Triton's index brings."""
    by_name: dict[str, list[ModelState]] = {}
    for state in await inference.client.index():
        by_name.setdefault(state.name, []).append(state)
    inference.dead.intersection_update(by_name)
    still_dead = await asyncio.gather(*(_is_dead(inference, name) for name in sorted(inference.dead)))
    found = [_of_model(name, states) for name, states in sorted(by_name.items())]
    found = [await _with_its_net(inference, model, by_name) for model in found if model.reason != _UNLOADED]
    return [
        Readiness(model.name, model.versions, "its worker process died") if model.name in still_dead else model
        for model in found
    ]


def _of_model(name: str, states: list[ModelState]) -> Readiness:
    live = tuple(state.version for state in states if state.ready)
    if live:
        return Readiness(name, live, "")
    telling = next((state for state in states if state.reason and state.reason != _UNLOADED), states[-1])
    return Readiness(
        name, (), telling.reason or telling.state.lower() or "not loaded, or not yet; Triton's log says why"
    )


async def _with_its_net(inference: Inference, model: Readiness, by_name: dict[str, list[ModelState]]) -> Readiness:
    """The model, unready where it is an image model and its net is not served in each of its versions."""
    net = model.name + NET_SUFFIX
    served = {state.version for state in by_name.get(net, []) if state.ready}
    lacking = [version for version in model.versions if version not in served]
    if net not in by_name or not lacking:
        return model
    if (await inference.client.model(model.name)).image is None:  # two models that merely have such names
        return model
    return Readiness(model.name, model.versions, f"it asks {net}/{lacking[0]}, which is not served")


async def _is_dead(inference: Inference, name: str) -> str:
    """The name again while the model's worker is dead. Any other answer than that error proves it alive."""
    try:
        metadata = await inference.client.call(rpcs.MODEL_METADATA, pb.ModelMetadataRequest(name=name))
        await inference.client.call(rpcs.MODEL_INFER, _blank(metadata))
    except WorkerDied:
        return name
    except SlipwayError:
        pass
    inference.dead.discard(name)
    return ""


def _blank(metadata: pb.ModelMetadataResponse) -> pb.ModelInferRequest:
    """A smallest request that reaches the worker: zeros, empty strings, and 1 for every open dimension."""
    request = pb.ModelInferRequest(model_name=metadata.name)
    for tensor in metadata.inputs:
        shape = [max(size, 1) for size in tensor.shape]
        request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        blank = (
            np.full(shape, b"", np.object_)
            if tensor.datatype == "BYTES"
            else np.zeros(shape, numpy_dtype(tensor.datatype))
        )
        request.raw_input_contents.append(encode_tensor(blank))
    return request
