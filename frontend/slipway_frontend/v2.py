"""``/v2``: the Open Inference Protocol over JSON, as Triton speaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from starlette.responses import Response
from tritonclient.grpc import service_pb2 as pb

from slipway_client import rpcs
from slipway_core.errors import UnsupportedByServer
from slipway_frontend.answers import JsonAnswer, JsonText, error_answer
from slipway_frontend.bodies import Intake
from slipway_frontend.inference import Inference
from slipway_frontend.offload import offloaded
from slipway_frontend.schemas import errors, request_body
from slipway_frontend.settings import Settings
from slipway_frontend.v2_json import answer_of, request_of, size_of

BINARY_HEADER = "Inference-Header-Content-Length"
# What Triton offers and this gateway passes on; the others need routes that are not here.
EXTENSIONS = ("classification", "sequence", "schedule_policy", "model_configuration", "parameters")
_HINT = '{"inputs": [{"name": ..., "shape": ..., "datatype": ..., "data": ...}]}'
_EXAMPLE = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
_BODY = request_body(application__json={"schema": {"type": "object"}, "example": _EXAMPLE})


def routes(inference: Inference, settings: Settings) -> APIRouter:
    """Everything under ``/v2``; paths with and without a version are one handler."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _add_server_routes(router, inference)
    _add_model_routes(router, inference)
    _add_inference_route(router, inference, Intake.of_text(settings))
    return router


def _add_server_routes(router: APIRouter, inference: Inference) -> None:
    client = inference.client

    @router.get("", summary="Server metadata", responses=errors(503, 504))
    async def server() -> Response:
        reply = await client.call(rpcs.SERVER_METADATA, pb.ServerMetadataRequest())
        extensions = [name for name in reply.extensions if name in EXTENSIONS]
        return JsonAnswer({"name": reply.name, "version": reply.version, "extensions": extensions})

    @router.get("/health/live", summary="Whether Triton's process answers", responses=errors(400))
    async def live() -> Response:
        return _yes_or_no("live", await client.live(), "Triton does not answer")

    @router.get("/health/ready", summary="Whether Triton calls itself ready", responses=errors(400))
    async def ready() -> Response:
        return _yes_or_no("ready", await client.ready(), "Triton is not ready")


def _add_model_routes(router: APIRouter, inference: Inference) -> None:
    client = inference.client

    @router.get("/models/{model}/versions/{version}", summary="Model metadata", responses=errors(400, 404, 503, 504))
    @router.get("/models/{model}", summary="Model metadata", responses=errors(404, 503, 504))
    async def metadata(model: str, version: str = "") -> Response:
        request = pb.ModelMetadataRequest(name=model, version=version)
        return JsonAnswer(as_triton_json(await client.call(rpcs.MODEL_METADATA, request)))

    @router.get("/models/{model}/versions/{version}/ready", summary="Model readiness", responses=errors(400))
    @router.get("/models/{model}/ready", summary="Model readiness", responses=errors(400))
    async def ready(model: str, version: str = "") -> Response:
        which = f"model {model[:100]!r}" + (f" version {version[:20]!r}" if version else "")
        ready = await client.model_ready(model, version)
        return _yes_or_no("ready", ready, f"{which} is not ready", name=model[:100])

    @router.get("/models/{model}/versions/{version}/config", summary="Model configuration", responses=errors(400, 404))
    @router.get("/models/{model}/config", summary="Model configuration", responses=errors(404, 503, 504))
    async def config(model: str, version: str = "") -> Response:
        request = pb.ModelConfigRequest(name=model, version=version)
        return JsonAnswer(as_triton_json((await client.call(rpcs.MODEL_CONFIG, request)).config))


def _add_inference_route(router: APIRouter, inference: Inference, intake: Intake) -> None:
    @router.post(
        "/models/{model}/versions/{version}/infer",
        summary="Raw inference",
        responses=errors(400, 404, 408, 413, 500, 501, 503, 504),
        openapi_extra=_BODY,
    )
    @router.post(
        "/models/{model}/infer",
        summary="Raw inference",
        responses=errors(400, 404, 408, 413, 500, 501, 503, 504),
        openapi_extra=_BODY,
    )
    async def infer(request: Request, model: str, version: str = "") -> Response:
        if BINARY_HEADER in request.headers:
            raise UnsupportedByServer(f"binary tensors ({BINARY_HEADER}) are not taken here; send the data as JSON")
        body = await intake.read(request, _HINT)
        asked = await offloaded(len(body), request_of, body, model, version)
        reply = await inference.infer(asked)
        return JsonText(await offloaded(size_of(reply), answer_of, reply))


def _yes_or_no(key: str, yes: bool, why_not: str, **more: Any) -> Response:
    return JsonAnswer({**more, key: True}) if yes else error_answer(400, why_not, None, **more, **{key: False})


def as_triton_json(message: Message) -> dict[str, Any]:
    """A message as Triton writes it over HTTP: every plain field, and 64-bit integers as numbers."""
    shown = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return _with_numbers(shown, message)


def _with_numbers(shown: dict[str, Any], message: Message) -> dict[str, Any]:
    """protobuf's JSON writes 64-bit integers as strings, which clients of Triton do not expect."""
    return {
        name: _numbered(value, message.DESCRIPTOR.fields_by_name[name], getattr(message, name))
        for name, value in shown.items()
    }


def _numbered(shown: Any, field: Any, value: Any) -> Any:
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return [int(item) for item in shown] if isinstance(shown, list) else int(shown)
    if field.message_type is None:
        return shown
    if isinstance(value, Mapping):
        inner = field.message_type.fields_by_name["value"]
        return {str(key): _numbered(shown[str(key)], inner, item) for key, item in value.items()}
    if isinstance(shown, list):
        return [_with_numbers(part, item) for part, item in zip(shown, value, strict=True)]
    return _with_numbers(shown, value)
