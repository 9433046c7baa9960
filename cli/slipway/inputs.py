"""What a person hands to ``slipway predict``: read within a bound, and refused in words that say what would do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from slipway_core.errors import InvalidInput, WrongTask
from slipway_core.rows import rows_from_csv
from slipway_core.served import ServedModel

STDIN = "-"
MAX_MIB = 64  # what the frontend takes in one request, too
_SHOWN_NAME, _SHOWN_FEATURES = 255, 8


def bytes_of(given: str, served: ServedModel) -> bytes:
    """A file's content, or stdin's. Raises :class:`InvalidInput` for one that cannot be read or has no end."""
    if not given:
        raise InvalidInput(f"an argument is empty; {taken_by(served)}")
    try:
        if given == STDIN:
            content = sys.stdin.buffer.read(MAX_MIB * 2**20 + 1)
        else:
            with Path(given).open("rb") as stream:
                content = stream.read(MAX_MIB * 2**20 + 1)
    except (OSError, ValueError) as e:
        if _is_json(given):  # rows are no file's name, so the model takes no rows
            raise InvalidInput(f"rows were given, and {taken_by(served)}") from None
        raise InvalidInput(f"{called(given)}: cannot be read ({getattr(e, 'strerror', None) or e})") from None
    if len(content) > MAX_MIB * 2**20:
        raise InvalidInput(f"{called(given)}: is larger than {MAX_MIB} MiB, the most that is read at once; split it")
    return content


def rows_of(given: str, served: ServedModel) -> list[Any]:
    """The rows in one argument: JSON itself, a file's content, or stdin's."""
    if not served.has_card:
        raise WrongTask(served.name, "take rows", "it was not published by slipway; use its raw tensors over /v2")
    if _is_json(given):
        return _json_rows(given, "the argument")
    where, content = called(given), bytes_of(given, served)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{where}: is no UTF-8 text; {taken_by(served)}") from None
    if not text.strip():
        raise InvalidInput(f"{where}: is empty; {taken_by(served)}")
    return _json_rows(text, where) if _is_json(text) else rows_from_csv(text, served.features)


def called(given: str) -> str:
    """What answers and messages call an argument: one line, and no longer than a file's name can be."""
    if given == STDIN:
        return "stdin"
    shown = given if given.isprintable() else repr(given)
    return shown if len(shown) <= _SHOWN_NAME else f"{shown[:_SHOWN_NAME]}..."


def taken_by(served: ServedModel) -> str:
    """What the model can be asked with."""
    if served.image is not None:
        return f"{served.name!r} takes image files, such as picture.png"
    names = [feature.name for feature in served.features]
    more = f" and {len(names) - _SHOWN_FEATURES} more" if len(names) > _SHOWN_FEATURES else ""
    return f"{served.name!r} takes rows of {', '.join(names[:_SHOWN_FEATURES])}{more}, as JSON, JSON lines or CSV"


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _json_rows(text: str, where: str) -> list[Any]:
    try:
        value = _parsed(text, where)
    except InvalidInput:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        # One whole object a line is JSON lines; the first line tells whether that was meant.
        if len(lines) < 2 or not lines[0][1].strip().endswith("}"):
            raise
        return [_parsed(line, where, number) for number, line in lines]
    if isinstance(value, dict) and isinstance(value.get("rows"), list):
        value = value["rows"]
    return value if isinstance(value, list) else [value]


def _parsed(text: str, where: str, first_line: int = 1) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidInput(f"{where}: is nested too deeply") from None
    except json.JSONDecodeError as e:
        place = f"line {first_line + e.lineno - 1} column {e.colno}"
        raise InvalidInput(f"{where}: is no valid JSON ({e.msg} at {place})") from None
    except ValueError as e:  # an integer of thousands of digits
        raise InvalidInput(f"{where}: is no valid JSON ({str(e).partition(';')[0]})") from None
