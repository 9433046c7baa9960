"""``/v1/models/{model}/predict``: rows by feature name, as JSON or CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from slipway_client import PredictionResult
from slipway_core.errors import InferenceFailed
from slipway_core.predictions import Prediction, Regression
from slipway_frontend.answers import JsonText, dumped_with
from slipway_frontend.bodies import UNSPECIFIED, Intake, content_type
from slipway_frontend.errors import UnsupportedContent
from slipway_frontend.inference import Inference
from slipway_frontend.json_bodies import as_text
from slipway_frontend.models import VERSION
from slipway_frontend.offload import offloaded
from slipway_frontend.queries import refuse_unknown
from slipway_frontend.row_bodies import HINT, rows_of
from slipway_frontend.schemas import PredictAnswer, errors, request_body
from slipway_frontend.settings import Settings

_ROWS = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "items": {"type": "object"}}}}
_EXAMPLE = {"rows": [{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}]}
_CSV_EXAMPLE = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"
_BODY = request_body(
    application__json={"schema": _ROWS, "example": _EXAMPLE},
    text__csv={"schema": {"type": "string"}, "example": _CSV_EXAMPLE},
)


_PREDICTION_BYTES = 100


def routes(inference: Inference, settings: Settings) -> APIRouter:
    """The route that predicts on rows."""
    router = APIRouter(tags=["predictions"])
    intake = Intake.of_text(settings)

    @router.post(
        "/v1/models/{model}/predict",
        summary="Predict on rows",
        response_model=PredictAnswer,
        responses=errors(400, 404, 408, 413, 415, 500, 503, 504),
        openapi_extra=_BODY,
    )
    async def predict(request: Request, model: str, version: str = VERSION) -> Response:
        """One prediction per row, in order, whatever the model's batch limit; all from one version.

        A row has every feature of the model's card by name. A CSV's first line names the features.
        """
        refuse_unknown(request, "version")
        kind = content_type(request)
        if kind == "text/csv":
            text = as_text(await intake.read(request, "a CSV whose first line names the features"))
            return await _answer(await inference.predict_csv(model, text, version))
        if kind not in UNSPECIFIED and kind != "application/json":
            raise UnsupportedContent(f"content type {kind!r}", f"text/csv, or application/json: {HINT}")
        body = await intake.read(request, HINT)
        rows = await offloaded(len(body), rows_of, body, settings)
        return await _answer(await inference.predict(model, rows, version))

    return router


async def _answer(result: PredictionResult) -> Response:
    return JsonText(await offloaded(len(result.predictions) * _PREDICTION_BYTES, _rendered, result))


def _rendered(result: PredictionResult) -> str:
    def as_json(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
        return [_prediction(result.model, prediction) for prediction in predictions]

    return dumped_with({"model": result.model, "version": result.version}, "predictions", result.predictions, as_json)


def _prediction(model: str, prediction: Prediction) -> dict[str, Any]:
    if isinstance(prediction, Regression):
        finite(model, prediction.value)
        return {"value": prediction.value}
    finite(model, *prediction.probabilities.values())
    return {"label": prediction.label, "probabilities": prediction.probabilities}


def finite(model: str, *values: float) -> None:
    """JSON has no NaN; a model that answers one has failed. Raises :class:`InferenceFailed`."""
    if not math.isfinite(sum(values)):
        raise InferenceFailed(model, "it answered NaN or an infinity, which no prediction can be")
