"""The app: routes over one :class:`Inference`, wrapped in what holds for every request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from slipway_client import AsyncClient
from slipway_frontend import classify, documentation, errors, health, models, page, predict, v2
from slipway_frontend.edge import Edge
from slipway_frontend.inference import Inference
from slipway_frontend.settings import Settings

_DESCRIPTION = (
    "Predictions from models on Triton: rows by feature name, images, and the Open Inference Protocol. "
    'Every answer carries X-Request-ID; every error is `{"error": "<what and how to mend it>"}`.'
)


def create_app(settings: Settings, client: AsyncClient) -> FastAPI:
    """The gateway to the Triton behind ``client``, which the app closes when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with client:
            yield

    app = FastAPI(
        title="slipway",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    inference = Inference(settings, client)
    for router in (
        predict.routes(inference, settings),
        classify.routes(inference, settings),
        models.routes(inference),
        v2.routes(inference, settings),
        health.routes(inference),
        documentation.routes(app),
        page.routes(),
    ):
        app.include_router(router)
    errors.register(app, client.transport.address)
    app.add_middleware(Edge, max_requests=settings.max_requests, max_held_bytes=settings.max_held_bytes)
    app.openapi = cache(lambda: documentation.schema(app))
    return app


def _version() -> str:
    try:
        return version("slipway")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
