"""JSON answers, written once for all routes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


class JsonAnswer(Response):
    """An answer whose content type is exactly ``application/json``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Compact UTF-8. NaN and infinities are written bare, as Triton writes them."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        # What UTF-8 cannot hold (half a surrogate pair in a client's string) goes out as JSON's own escape.
        return text.encode("utf-8", "backslashreplace")


def error_answer(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> JsonAnswer:
    """``{"error": "<one line>"}``, with further keys where a route promises them."""
    return JsonAnswer({"error": " ".join(message.split()), **more}, status, headers=dict(headers or {}))
