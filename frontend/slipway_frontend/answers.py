"""JSON answers, written once for all routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.responses import Response

from slipway_core.tensors import Array

_SLICE = 5_000  # items that become text in one step
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumped(content: Any) -> str:
    """Compact JSON. NaN and infinities are written bare, as Triton writes them."""
    return _ENCODER.encode(content)


def dumped_with(
    head: Mapping[str, Any], key: str, items: Sequence[Any] | Array, as_json: Callable[[Any], list[Any]]
) -> str:
    """``head`` with one more key: the list of all that ``as_json`` makes of a slice of the items.

    A long list becomes text slice by slice, so that other threads come in between.
    """
    if len(items) <= _SLICE:
        return dumped({**head, key: as_json(items)})
    slices = (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))
    texts = [dumped(as_json(part))[1:-1] for part in slices]
    return f'{dumped(head)[:-1]},"{key}":[{",".join(texts)}]}}'


class JsonText(Response):
    """An answer of JSON text, whose content type is exactly ``application/json``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """UTF-8; what it cannot hold (half a surrogate pair in a client's string) goes out as JSON's own escape."""
        return str(content).encode("utf-8", "backslashreplace")


class JsonAnswer(JsonText):
    """An answer of anything that JSON can hold."""

    def render(self, content: Any) -> bytes:
        """UTF-8 of :func:`dumped`."""
        return super().render(dumped(content))


def error_answer(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> JsonAnswer:
    """``{"error": "<one line>"}``, with further keys where a route promises them."""
    return JsonAnswer({"error": " ".join(message.split()), **more}, status, headers=dict(headers or {}))
