"""``/docs``: Swagger UI from files on this machine, so that it works without the internet."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_ICON = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>"


def routes(app: FastAPI) -> APIRouter:
    """``/docs`` and the two files it needs; ``/openapi.json`` is the app's own."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=f"{app.title} API",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url=_ICON,
            swagger_ui_parameters={"defaultModelsExpandDepth": 0, "displayRequestDuration": True},
        )

    # The package is taken for Swagger's files only; its own FastAPI subclass is not used.
    folder = files("fastapi_offline") / "static"
    for name, media_type in _ASSETS.items():
        router.add_api_route(f"/docs/{name}", _file(folder / name, media_type))
    return router


def _file(path: Any, media_type: str) -> Any:
    async def asset() -> Response:
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response(path.read_bytes(), media_type=media_type, headers=headers)

    return asset


def schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description without the 422 that FastAPI assumes: bad queries answer 400 here."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
    return made
