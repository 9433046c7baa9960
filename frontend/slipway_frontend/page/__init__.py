"""``/``: the page a person opens. One HTML document that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response


def routes() -> APIRouter:
    """The page and its icon; style and script are written into the document once."""
    folder = files(__name__)
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    html = (folder / "page.html").read_text(encoding="utf-8")
    document = html.replace("/* style */", style).replace("/* script */", script).encode()
    headers = {"Content-Security-Policy": _policy(style, script), "X-Content-Type-Options": "nosniff"}
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return Response(document, media_type="text/html", headers=headers)

    return router


def _policy(style: str, script: str) -> str:
    """Only the page's own script and style run; it talks to its own server and shows the user's own images."""
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
