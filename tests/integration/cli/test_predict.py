"""``slipway predict`` and whatever a person may hand to it, against a Triton made of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_client import FakeModel
from slipway_core.card import ModelCard
from support.client import in_process_triton
from support.frontend import CARDS, IRIS_ROW, by_petal_length, fake_triton

ROW = json.dumps(IRIS_ROW)
TAKES_ROWS = "'iris' takes rows of sepal_length, sepal_width, petal_length, petal_width, as JSON, JSON lines or CSV\n"
TAKES_IMAGES = "'digits' takes image files, such as picture.png\n"
TOO_LARGE = "is larger than 64 MiB, the most that is read at once; split it\n"


@pytest.fixture(scope="module")
def triton() -> Iterator[str]:
    """Its address. It serves ``iris``, ``digits`` and ``fleur``, whose labels are not ASCII."""
    models = fake_triton()
    iris = ModelCard.from_toml(CARDS / "iris.toml")
    labels = {"labels": ("sétosa ☃", "versicolor", "virginica")}
    fleur = iris.model_copy(update={"name": "fleur", "output": iris.output.model_copy(update=labels)})
    models.models["fleur"] = FakeModel.of_card(fleur, by_petal_length)
    with in_process_triton(models) as running:
        yield running.address


def predict(
    triton: str, *arguments: str | Path | bytes, stdin: str | bytes = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "slipway", "predict", *arguments],
        env=os.environ | {"SLIPWAY_TRITON_GRPC": triton} | environment,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of wrong usage."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("slipway: ") and done.stderr.count("\n") == 1
    return done.stderr.removeprefix("slipway: ")


def piped_from(command: str, given: str, triton: str) -> subprocess.CompletedProcess[str]:
    """``predict iris GIVEN`` at the end of a shell pipeline."""
    line = f"{command} | {sys.executable} -m slipway predict iris {given}"
    return subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"SLIPWAY_TRITON_GRPC": triton},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_input_without_an_end_is_refused_at_a_stated_size(triton: str, tmp_path: Path) -> None:
    assert refusal(predict(triton, "iris", "/dev/zero")) == f"/dev/zero: {TOO_LARGE}"
    assert refusal(predict(triton, "digits", "/dev/zero")) == f"/dev/zero: {TOO_LARGE}"
    assert refusal(piped_from(f"yes '{ROW}'", "-", triton)) == f"stdin: {TOO_LARGE}"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert refusal(piped_from(f"(yes > {fifo} 2>/dev/null &); true", str(fifo), triton)) == f"{fifo}: {TOO_LARGE}"


def test_a_process_substitution_is_read_like_a_file(triton: str) -> None:
    done = piped_from("true", f"<(echo '{ROW}')", triton)
    assert done.stdout == "setosa (96.0%)\n", done.stderr


def test_an_argument_the_model_cannot_use_is_answered_with_what_it_takes(triton: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n")
    assert refusal(predict(triton, "iris", "")) == f"an argument is empty; {TAKES_ROWS}"
    assert refusal(predict(triton, "digits", "")) == f"an argument is empty; {TAKES_IMAGES}"
    assert refusal(predict(triton, "iris", picture)) == f"{picture}: is no UTF-8 text; {TAKES_ROWS}"
    assert refusal(predict(triton, "iris", stdin="\n")) == f"stdin: is empty; {TAKES_ROWS}"
    for rows in (ROW, json.dumps([IRIS_ROW] * 10)):  # the longer one cannot even be a file's name
        assert refusal(predict(triton, "digits", rows)) == f"rows were given, and {TAKES_IMAGES}"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (".", ".: cannot be read (Is a directory)\n"),
        ("a\nb", "'a\\nb': cannot be read (No such file or directory)\n"),
        (b"\xff.csv", "'\\udcff.csv': cannot be read (No such file or directory)\n"),
        ("x" * 5000, f"{'x' * 255}...: cannot be read (File name too long)\n"),
        ("[" * 100_000, "the argument: is nested too deeply\n"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(triton: str, given: str | bytes, reason: str) -> None:
    assert refusal(predict(triton, "iris", given)) == reason


def test_json_lines_are_rows_from_a_file_and_from_stdin(triton: str, tmp_path: Path) -> None:
    virginica = json.dumps(IRIS_ROW | {"petal_length": 6.0})
    lines = f"\ufeff{ROW}\r\n\n{virginica}\n"
    file = tmp_path / "rows.jsonl"
    file.write_text(lines, encoding="utf-8")
    answer = "row 0: setosa (96.0%)\nrow 1: virginica (96.0%)\n"
    assert predict(triton, "iris", file).stdout == answer
    assert predict(triton, "iris", stdin=lines).stdout == answer


def test_broken_json_is_located_also_among_json_lines(triton: str) -> None:
    broken = f'{ROW}\n\n{{"sepal_length": }}\n'
    assert refusal(predict(triton, "iris", stdin=broken)) == (
        "stdin: is no valid JSON (Expecting value at line 3 column 18)\n"
    )
    broken = '[\n  {"sepal_length": 5.1},\n  {"sepal_length": }\n]'
    assert refusal(predict(triton, "iris", stdin=broken)) == (
        "stdin: is no valid JSON (Expecting value at line 3 column 20)\n"
    )


def test_a_model_whose_name_is_no_text_does_not_exist(triton: str) -> None:
    assert "no model 'iri\\\\udcff' is served" in refusal(predict(triton, b"iri\xff", ROW))


def test_labels_that_the_terminal_cannot_show_are_escaped(triton: str) -> None:
    assert predict(triton, "fleur", ROW).stdout == "sétosa ☃ (96.0%)\n"
    plain = predict(triton, "fleur", ROW, PYTHONIOENCODING="ascii")
    assert (plain.returncode, plain.stdout) == (0, "s\\xe9tosa \\u2603 (96.0%)\n")
    told = predict(triton, "fleur", ROW, "--json", PYTHONIOENCODING="ascii")
    assert json.loads(told.stdout)["predictions"][0]["label"] == "sétosa ☃"


@pytest.mark.parametrize(
    ("redirection", "code", "out", "err"),
    [
        (">&-", 0, "", ""),
        ("2>&-", 0, "setosa (96.0%)\n", ""),
        ("<&-", 0, "setosa (96.0%)\n", ""),
        (">/dev/full", 1, "", "slipway: the output: No space left on device\n"),
        ("| head -0; exit ${PIPESTATUS[1]}", 0, "", ""),
    ],
)
def test_streams_that_are_closed_or_full_are_no_traceback(
    triton: str, redirection: str, code: int, out: str, err: str
) -> None:
    done = piped_from("true", f"'{ROW}' {redirection}", triton)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_closed_stdin_is_an_empty_one(triton: str) -> None:
    assert piped_from("true", "<&-", triton).stderr == f"slipway: stdin: is empty; {TAKES_ROWS}"
