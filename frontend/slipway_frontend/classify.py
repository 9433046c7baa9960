"""``/v1/models/{model}/classify``: image files, several in a form or one as the bare body."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from slipway_client import PredictionResult
from slipway_core.errors import InvalidInput
from slipway_core.predictions import Prediction, Regression
from slipway_frontend.answers import JsonAnswer
from slipway_frontend.bodies import UNSPECIFIED, Intake, content_type
from slipway_frontend.errors import TooLarge, UnsupportedContent
from slipway_frontend.inference import Inference, NamedImage
from slipway_frontend.models import VERSION
from slipway_frontend.predict import finite
from slipway_frontend.queries import refuse_unknown
from slipway_frontend.schemas import ClassifyAnswer, errors, request_body
from slipway_frontend.settings import Settings

_FORM = "multipart/form-data"
_BINARY = {"type": "string", "format": "binary"}
_FILES = {"type": "object", "properties": {"file": {"type": "array", "items": _BINARY}}}
_BODY = request_body(
    multipart__form_data={"schema": _FILES},
    image__png={"schema": _BINARY},
    image__jpeg={"schema": _BINARY},
    application__octet_stream={"schema": _BINARY},
)
TOP_K = Query(3, ge=1, le=10_000, description="how many of the likeliest labels to name")


def routes(inference: Inference, settings: Settings) -> APIRouter:
    """The route that classifies images."""
    router = APIRouter(tags=["predictions"])
    intake = Intake.of_binary(settings)

    @router.post(
        "/v1/models/{model}/classify",
        summary="Classify images",
        response_model=ClassifyAnswer,
        responses=errors(400, 404, 408, 413, 415, 500, 503, 504),
        openapi_extra=_BODY,
    )
    async def classify(request: Request, model: str, version: str = VERSION, top_k: int = TOP_K) -> Response:
        """One prediction per image, in order; all from one version. The files of one form are one batch."""
        refuse_unknown(request, "version", "top_k")
        images = await _images(request, intake, settings.max_images)
        result = await inference.classify(model, images, version)
        return _answer(result, [image.name for image in images], top_k)

    return router


async def _images(request: Request, intake: Intake, max_images: int) -> list[NamedImage]:
    kind = content_type(request)
    if kind == _FORM:
        return await _uploaded(request, intake, max_images)
    if kind in UNSPECIFIED or kind == "application/octet-stream" or kind.startswith("image/"):
        return [NamedImage("image 0", await intake.read(request, "an image file's bytes, or several as a form"))]
    raise UnsupportedContent(f"content type {kind!r}", f"{_FORM} with image files, or an image's bytes as image/*")


class _InMemory(MultiPartParser):
    """Keeps files in memory, which the body limit bounds: a full disk must not fail a request."""

    spool_max_size = 2**31


async def _uploaded(request: Request, intake: Intake, max_images: int) -> list[NamedImage]:
    parser = _InMemory(request.headers, intake.parts(request), max_files=max_images, max_fields=1)
    try:
        form = await parser.parse()
    except MultiPartException as e:
        if e.message.startswith("Too many files"):
            raise TooLarge("the form holds more images", f"{max_images}", "SLIPWAY_MAX_IMAGES") from None
        raise InvalidInput(f"the form cannot be read: {e.message}") from None
    images: list[NamedImage] = []
    for field, part in form.multi_items():
        if not isinstance(part, UploadFile):
            raise InvalidInput(f"form field {field[:100]!r} is text, not a file; with curl: -F file=@image.png")
        images.append(NamedImage(part.filename or f"image {len(images)}", await part.read()))
    if not images:
        raise InvalidInput("the form holds no file; with curl: -F file=@image.png")
    return images


def _answer(result: PredictionResult, files: list[str], top_k: int) -> Response:
    predictions = [
        _prediction(result.model, file, prediction, top_k)
        for file, prediction in zip(files, result.predictions, strict=True)
    ]
    return JsonAnswer({"model": result.model, "version": result.version, "predictions": predictions})


def _prediction(model: str, file: str, prediction: Prediction, top_k: int) -> dict[str, Any]:
    if isinstance(prediction, Regression):
        finite(model, prediction.value)
        return {"file": file, "value": prediction.value}
    finite(model, *prediction.probabilities.values())
    top = [{"label": label, "probability": probability} for label, probability in prediction.top(top_k)]
    return {"file": file, "label": prediction.label, "top": top}
