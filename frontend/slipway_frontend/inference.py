"""The one door through which every protocol asks a model; it knows nothing of HTTP.

What is to hold for every request (limits, who may ask, what is remembered of it) belongs here, once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from slipway_client import AsyncClient, PredictionResult
from slipway_client.rpcs import MODEL_INFER
from slipway_core.errors import WorkerDied
from slipway_core.rows import csv_rows
from slipway_core.served import ServedModel
from slipway_frontend.errors import TooLarge
from slipway_frontend.offload import offloaded
from slipway_frontend.settings import Settings


@dataclass(frozen=True)
class NamedImage:
    """An encoded image and what answers and errors call it."""

    name: str
    content: bytes


class Inference:
    """Asks models on behalf of callers, within the limits of the settings."""

    def __init__(self, settings: Settings, client: AsyncClient) -> None:
        self.client = client
        self.dead: set[str] = set()
        self._settings = settings

    async def predict(self, model: str, rows: Sequence[Mapping[str, Any]], version: str) -> PredictionResult:
        """Predictions for rows; see :meth:`AsyncClient.predict`. Raises :class:`TooLarge` beyond ``max_rows``."""
        if len(rows) > self._settings.max_rows:
            raise TooLarge(f"{len(rows)} rows are more", f"{self._settings.max_rows}", "SLIPWAY_MAX_ROWS")
        with self._noticing_deaths(model):
            return await self.client.predict(model, rows, version=version)

    async def predict_csv(self, model: str, text: str, version: str) -> PredictionResult:
        """Predictions for the rows of a CSV whose header names the features."""
        served = await self.client.model(model, version)
        rows = await offloaded(len(text), self._rows_of_csv, text, served)
        return await self.predict(model, rows, version)

    async def classify(self, model: str, images: Sequence[NamedImage], version: str) -> PredictionResult:
        """Classes of images; see :meth:`AsyncClient.classify`. Raises :class:`TooLarge` beyond ``max_images``."""
        if len(images) > self._settings.max_images:
            raise TooLarge(f"{len(images)} images are more", f"{self._settings.max_images}", "SLIPWAY_MAX_IMAGES")
        contents, names = [image.content for image in images], [image.name for image in images]
        with self._noticing_deaths(model):
            return await self.client.classify(model, contents, version=version, names=names)

    async def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        """One raw request, sent as it is."""
        with self._noticing_deaths(request.model_name):
            return await self.client.call(MODEL_INFER, request)

    def _rows_of_csv(self, text: str, served: ServedModel) -> list[dict[str, Any]]:
        rows = list(islice(csv_rows(text, served.features), self._settings.max_rows + 1))
        if len(rows) > self._settings.max_rows:
            raise TooLarge("the CSV holds more rows", f"{self._settings.max_rows}", "SLIPWAY_MAX_ROWS")
        return rows

    @contextmanager
    def _noticing_deaths(self, model: str) -> Generator[None]:
        """Triton calls a model ready whose Python worker is dead; readiness asks those that failed so."""
        try:
            yield
        except WorkerDied as e:
            self.dead.add(e.model)
            raise
        self.dead.discard(model)
