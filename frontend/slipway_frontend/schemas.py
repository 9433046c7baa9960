"""The shapes of /v1's JSON, for /docs and for people; the routes build the same shapes as plain dictionaries."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: str = Field(examples=["row 0: feature 'petal_width' is missing"])


class PredictAnswer(BaseModel):
    """A classifier's predictions hold ``label`` and ``probabilities``, a regressor's ``value``; one per row."""

    model: str = Field(examples=["iris"])
    version: str = Field(examples=["1"])
    predictions: list[dict[str, Any]] = Field(
        examples=[
            [{"label": "setosa", "probabilities": {"setosa": 0.98, "versicolor": 0.02, "virginica": 0.0}}],
            [{"value": 3.1}],
        ]
    )


class Ranked(BaseModel):
    """One of the likeliest labels."""

    label: str = Field(examples=["7"])
    probability: float = Field(examples=[0.99])


class ImagePrediction(BaseModel):
    """One image's class; ``top`` is sorted, likeliest first."""

    file: str = Field(examples=["seven.png"])
    label: str = Field(examples=["7"])
    top: list[Ranked]


class ClassifyAnswer(BaseModel):
    """One prediction per image, in the order sent."""

    model: str = Field(examples=["digits"])
    version: str = Field(examples=["1"])
    predictions: list[ImagePrediction]


def errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that can fail in these ways."""
    return {code: {"model": ErrorBody} for code in codes}


def request_body(**by_content_type: Any) -> dict[str, Any]:
    """``openapi_extra`` for a body that the route reads by itself; keys are written with ``__`` for ``/``."""
    content = {kind.replace("__", "/").replace("_", "-"): value for kind, value in by_content_type.items()}
    return {"requestBody": {"required": True, "content": content}}
