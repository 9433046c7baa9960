"""``slipway predict``: ask a served model, with rows or with images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from slipway import show
from slipway.places import DEFAULT_URL, JsonOption, UrlOption
from slipway_client import Client
from slipway_core.errors import InvalidInput, WrongTask
from slipway_core.rows import rows_from_csv
from slipway_core.served import ServedModel

STDIN = "-"


def predict(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="JSON rows, a .json or .csv file, image files, or - for stdin.", show_default=False),
    ] = None,
    version: Annotated[str, typer.Option(help="Ask this version instead of the newest live one.")] = "",
    json_: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    timeout: Annotated[float, typer.Option(help="Seconds until the question is given up.", min=0.001)] = 30.0,
) -> None:
    """Ask a served model.

    slipway predict iris '{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
    """
    given = inputs or ([] if sys.stdin.isatty() else [STDIN])
    if not given:
        raise InvalidInput("there is no input; give JSON rows, a .csv or .json file, image files, or - for stdin")
    with Client(url, deadline_s=timeout) as client:
        served = client.model(model, version)
        if served.image is not None:
            names = ["stdin" if name == STDIN else name for name in given]
            result = client.classify(model, [_read_bytes(name) for name in given], version=version, names=names)
        else:
            rows = [row for text in given for row in _rows(text, served)]
            names = [f"row {at}" for at in range(len(rows))]
            result = client.predict(model, rows, version=version)
    answers = [asdict(prediction) for prediction in result.predictions]
    if json_:
        show.as_json({"model": result.model, "version": result.version, "predictions": answers})
        return
    _print_answers(names, answers)


def _print_answers(names: Sequence[str], answers: Sequence[dict[str, Any]]) -> None:
    for name, answer in zip(names, answers, strict=True):
        show.line(show.prediction(answer) if len(answers) == 1 else f"{name}: {show.prediction(answer)}")


def _read_bytes(name: str) -> bytes:
    if name == STDIN:
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as e:
        raise InvalidInput(f"{name}: cannot be read ({getattr(e, 'strerror', None) or e})") from None


def _rows(given: str, served: ServedModel) -> list[dict[str, Any]]:
    """The rows in one command-line argument: JSON itself, a file's content, or stdin's."""
    if not served.has_card:
        raise WrongTask(served.name, "take rows", "it was not published by slipway; use its raw tensors over /v2")
    if given.lstrip().startswith(("{", "[")):
        return _json_rows(given, "the argument")
    where = "stdin" if given == STDIN else given
    try:
        text = _read_bytes(given).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"{where}: is not text; {served.name!r} takes rows as JSON or CSV") from None
    if not text.strip():
        raise InvalidInput(f"{where}: is empty; send JSON rows or a CSV with a header")
    if text.lstrip().startswith(("{", "[")):
        return _json_rows(text, where)
    return rows_from_csv(text, served.features)


def _json_rows(text: str, where: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError as e:
        raise InvalidInput(f"{where}: is no valid JSON ({e})") from None
    except RecursionError:
        raise InvalidInput(f"{where}: is nested too deeply") from None
    if isinstance(value, dict) and isinstance(value.get("rows"), list):
        value = value["rows"]
    return value if isinstance(value, list) else [value]
