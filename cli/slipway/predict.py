"""``slipway predict``: ask a served model, with rows or with images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from slipway import show
from slipway.inputs import STDIN, bytes_of, called, rows_of
from slipway.places import DEFAULT_URL, JsonOption, UrlOption
from slipway_client import Client, valid_deadline
from slipway_core.errors import InvalidInput


def _valid_timeout(seconds: float) -> float:
    return valid_deadline(seconds, "--timeout")


def predict(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="JSON rows, a .json, .jsonl or .csv file, image files, or - for stdin.", show_default=False
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Ask this version instead of the newest live one.")] = "",
    json_: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    timeout: Annotated[
        float, typer.Option(help="Seconds until the question is given up.", callback=_valid_timeout)
    ] = 30.0,
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
            names = [called(name) for name in given]
            result = client.classify(model, [bytes_of(name, served) for name in given], version=version, names=names)
        else:
            rows = [row for text in given for row in rows_of(text, served)]
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
