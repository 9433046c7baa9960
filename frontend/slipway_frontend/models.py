"""``/v1/models``: what is served, and what each model wants."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from slipway_core.card import Feature
from slipway_core.served import ServedModel
from slipway_frontend.answers import JsonAnswer
from slipway_frontend.inference import Inference
from slipway_frontend.queries import refuse_unknown
from slipway_frontend.schemas import errors

VERSION = Query("", description="a live version; without it the newest answers")


def routes(inference: Inference) -> APIRouter:
    """The routes that describe models."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", summary="Every served model", responses=errors(503, 504))
    async def models() -> Response:
        """Cards and live versions, sorted by name; the inner nets of image models are left out."""
        served = [model for model in await inference.client.models() if model.role != "net"]
        return JsonAnswer({"models": [described(model) for model in served]})

    @router.get("/v1/models/{model}", summary="One model", responses=errors(404, 503, 504))
    async def model(request: Request, model: str, version: str = VERSION) -> Response:
        """The model's card and its live versions."""
        refuse_unknown(request, "version")
        return JsonAnswer(described(await inference.client.model(model, version)))

    return router


def described(model: ServedModel) -> dict[str, Any]:
    """A served model as JSON. ``ask`` is the route that takes its inputs."""
    return {
        "name": model.name,
        "task": model.task,
        "description": model.description,
        "versions": list(model.versions),
        "max_batch_size": model.max_batch_size,
        "inputs": [_feature(feature) for feature in model.features],
        "image": None if model.image is None else model.image.model_dump(),
        "labels": list(model.labels),
        "unit": model.unit,
        "ask": _route(model),
    }


def _feature(feature: Feature) -> dict[str, Any]:
    return feature.model_dump()


def _route(model: ServedModel) -> str:
    if model.role == "model" and model.features:
        return f"/v1/models/{model.name}/predict"
    if model.role == "model" and model.image is not None:
        return f"/v1/models/{model.name}/classify"
    return f"/v2/models/{model.name}/infer"
