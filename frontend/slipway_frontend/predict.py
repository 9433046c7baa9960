"""``/v1/models/{model}/predict``: rows by feature name, as JSON or CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from slipway_client import PredictionResult
from slipway_core.errors import InferenceFailed, InvalidInput
from slipway_core.predictions import Prediction, Regression
from slipway_frontend.answers import JsonAnswer
from slipway_frontend.bodies import UNSPECIFIED, as_json, as_text, content_type, read_body
from slipway_frontend.errors import UnsupportedContent
from slipway_frontend.inference import Inference
from slipway_frontend.models import VERSION
from slipway_frontend.schemas import PredictAnswer, errors, request_body

_HINT = '{"rows": [{"<feature>": <value>, ...}, ...]}'
_ROWS = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "items": {"type": "object"}}}}
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_EXAMPLE = {"rows": [{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}]}
_CSV_EXAMPLE = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"
_BODY = request_body(
    application__json={"schema": _ROWS, "example": _EXAMPLE},
    text__csv={"schema": {"type": "string"}, "example": _CSV_EXAMPLE},
)


def routes(inference: Inference) -> APIRouter:
    """The route that predicts on rows."""
    router = APIRouter(tags=["predictions"])

    @router.post(
        "/v1/models/{model}/predict",
        summary="Predict on rows",
        response_model=PredictAnswer,
        responses=errors(400, 404, 413, 415, 500, 503, 504),
        openapi_extra=_BODY,
    )
    async def predict(request: Request, model: str, version: str = VERSION) -> Response:
        """One prediction per row, in order, whatever the model's batch limit; all from one version.

        A row has every feature of the model's card by name. A CSV's first line names the features.
        """
        kind = content_type(request)
        if kind == "text/csv":
            text = as_text(await read_body(request, "a CSV whose first line names the features"))
            return _answer(await inference.predict_csv(model, text, version))
        if kind not in UNSPECIFIED and kind != "application/json":
            raise UnsupportedContent(f"content type {kind!r}", "application/json or text/csv")
        rows = rows_of(as_json(await read_body(request, _HINT)))
        return _answer(await inference.predict(model, rows, version))

    return router


def rows_of(body: Any) -> list[Mapping[str, Any]]:
    """The rows of a JSON body; what is in them is checked against the model's card."""
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be an object {_HINT}, got {_kind(body)}")
    if "rows" not in body:
        raise InvalidInput(f"the body has no 'rows'; send {_HINT}")
    if len(body) > 1:
        other = next(str(key) for key in body if key != "rows")
        raise InvalidInput(f"the body holds 'rows' and nothing else, got {other[:100]!r} too")
    rows = body["rows"]
    if not isinstance(rows, list):
        raise InvalidInput(f"'rows' must be a list of objects, got {_kind(rows)}")
    return rows


def _kind(value: Any) -> str:
    """JSON's word for a value's type."""
    return _KINDS.get(type(value), "a number")


def _answer(result: PredictionResult) -> Response:
    predictions = [_prediction(result.model, prediction) for prediction in result.predictions]
    return JsonAnswer({"model": result.model, "version": result.version, "predictions": predictions})


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
