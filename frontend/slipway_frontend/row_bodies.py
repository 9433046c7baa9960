"""The rows of a JSON body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slipway_core.errors import InvalidInput
from slipway_frontend.errors import TooLarge
from slipway_frontend.json_bodies import as_json, as_text, count_of, longest_without, refuse_repeated_names, signs
from slipway_frontend.offload import LARGE_BYTES
from slipway_frontend.settings import Settings

HINT = '{"rows": [{"<feature>": <value>, ...}, ...]}'
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_LISTS_TO_NAME = 1_000  # so many are worth reading, to name the first row that is wrong


def rows_of(body: bytes, settings: Settings) -> list[Mapping[str, Any]]:
    """The rows of a JSON body; what is in them is checked against the model's card.

    Raises :class:`InvalidInput`, and :class:`TooLarge` beyond the settings. A large body is read so that other
    threads come in between: it stops after ``max_rows``, and nothing in it is longer than ``max_row_bytes``.
    """
    if len(body) > settings.max_row_bytes:
        _refuse_costly(body, settings.max_row_bytes)
    text = as_text(body)
    value = as_json(text, _stopping_after(settings.max_rows) if len(body) > LARGE_BYTES else None)
    rows = _checked(value)
    refuse_repeated_names(text, len(value) + sum(len(row) for row in rows if isinstance(row, dict)))
    return rows


def _refuse_costly(body: bytes, max_row_bytes: int) -> None:
    outside_strings = signs(body)
    if longest_without(outside_strings, "{", "}") > max_row_bytes:
        raise TooLarge("a row of the body is larger", f"{max_row_bytes} bytes", "SLIPWAY_MAX_ROW_BYTES")
    lists = count_of(outside_strings, "[") - 1
    if lists > _LISTS_TO_NAME:
        raise InvalidInput(f"the rows hold {lists} lists; a feature's value is a number, a string, true or false")


def _stopping_after(max_rows: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    left = max_rows + 1  # the body itself is an object too

    def counted(found: dict[str, Any]) -> dict[str, Any]:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooLarge("the body holds more rows", f"{max_rows}", "SLIPWAY_MAX_ROWS")
        return found

    return counted


def _checked(body: Any) -> list[Mapping[str, Any]]:
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be an object {HINT}, got {_kind(body)}")
    if "rows" not in body:
        raise InvalidInput(f"the body has no 'rows'; send {HINT}")
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
