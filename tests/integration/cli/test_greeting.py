"""The first requests of ``slipway up``: one model that fails is told, and the others are asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.frontend_process import free_port
from slipway.greeting import greet
from slipway_core.card import ModelCard
from slipway_core.errors import CannotServe
from support.frontend import CARDS, fake_triton, frontend

IRIS = ModelCard.from_toml(CARDS / "iris.toml")


def _with_example(example: str | None) -> ModelCard:
    first, *others = IRIS.inputs
    return IRIS.model_copy(update={"inputs": (first.model_copy(update={"example": example}), *others)})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a frontend that serves ``iris`` and ``digits``."""
    with frontend(fake_triton()) as url:
        yield url.removeprefix("http://")


def test_a_model_whose_first_request_fails_is_told_in_one_line_and_the_others_answer(
    address: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    samples = tmp_path / "samples.npz"
    samples.write_bytes(b"no archive")
    digits = ModelCard.from_toml(CARDS / "digits.toml")
    digits = digits.model_copy(update={"source": digits.source.model_copy(update={"samples": samples})})
    greet([_with_example("tall"), digits, IRIS], address)
    said = capsys.readouterr()
    iris, other = said.err.splitlines()
    assert iris.startswith("model 'iris' failed: the frontend answered 400: ")
    assert "'sepal_length' must be a finite number" in iris
    assert other.startswith(f"model 'digits' failed: no image can be taken from {samples} (")
    answer, blank, title, *pastes = said.out.splitlines()
    assert (answer, blank, title) == ("iris/1 answers: setosa", "", "Try these:")
    assert len(pastes) == 2, "one model answered, in two ways"


def test_nothing_to_try_is_no_heading(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    greet([_with_example("tall"), _with_example(None)], address)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1] == "iris: not asked, its card names no example (or its samples are gone)"


def test_a_frontend_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CannotServe, match="the frontend does not answer"):
        greet([IRIS], f"127.0.0.1:{free_port('127.0.0.1', 0)}")
