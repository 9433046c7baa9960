"""The command line as a user types it against a running stack, right and wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slipway import Client
from support.stack import Stack

SETOSA = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
VIRGINICA = {"sepal_length": 6.7, "sepal_width": 3.0, "petal_length": 5.2, "petal_width": 2.3}


def test_a_row_is_predicted(stack: Stack) -> None:
    done = stack.slipway("predict", "iris", json.dumps(SETOSA))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("setosa (")


def test_rows_come_from_a_csv_file_and_from_stdin_in_order(stack: Stack, tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("petal_width,sepal_length,sepal_width,petal_length\n" + "2.3,6.7,3.0,5.2\n" + "0.2,5.1,3.5,1.4\n")
    from_file = stack.slipway("predict", "iris", str(table), "--json")
    from_stdin = stack.slipway("predict", "iris", "-", "--json", stdin=table.read_text())
    assert from_file.stdout == from_stdin.stdout
    assert [p["label"] for p in json.loads(from_file.stdout)["predictions"]] == ["virginica", "setosa"]


def test_ten_thousand_rows_are_split_and_joined_in_order(stack: Stack) -> None:
    rows = [SETOSA if at % 3 else VIRGINICA for at in range(10_000)]
    done = stack.slipway("predict", "iris", "-", "--json", stdin=json.dumps(rows))
    assert done.returncode == 0, done.stderr
    labels = [p["label"] for p in json.loads(done.stdout)["predictions"]]
    assert labels == ["setosa" if at % 3 else "virginica" for at in range(10_000)]


def test_images_are_classified_like_their_true_labels(stack: Stack, tmp_path: Path) -> None:
    with np.load(stack.folder / "artifacts" / "digits" / "samples.npz") as samples:
        images, targets = samples["inputs"][:20], samples["targets"][:20]
    files = []
    for at, image in enumerate(images):
        files.append(str(tmp_path / f"{at}.png"))
        Image.fromarray(image.squeeze()).resize((64, 64), Image.Resampling.NEAREST).save(files[-1])
    done = stack.slipway("predict", "digits", *files, "--json")
    assert done.returncode == 0, done.stderr
    labels = [p["label"] for p in json.loads(done.stdout)["predictions"]]
    right = sum(label == str(target) for label, target in zip(labels, targets.tolist(), strict=True))
    assert right >= 18
    piped = stack.slipway("predict", "digits", "-", stdin=Path(files[0]).read_bytes())
    assert piped.stdout.startswith(f"{labels[0]} (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "irsi", "{}"], "slipway: no model 'irsi' is served; did you mean 'iris'?\n"),
        (["predict", "iris", "{}"], "slipway: row 0: feature 'sepal_length' is missing\n"),
        (
            ["predict", "iris", json.dumps(SETOSA | {"petal_lenght": 1})],
            "slipway: row 0: unknown feature 'petal_lenght'; did you mean 'petal_length'? "
            "the model's features are sepal_length, sepal_width, petal_length, petal_width\n",
        ),
        (
            ["predict", "iris", json.dumps(SETOSA | {"petal_length": "long"})],
            "slipway: row 0: feature 'petal_length' must be a finite number (cm), got 'long'\n",
        ),
        (
            ["predict", "iris", json.dumps(SETOSA | {"petal_length": float("nan")})],
            "slipway: row 0: feature 'petal_length' must be a finite number (cm), got nan\n",
        ),
        (["predict", "iris", "[]"], "slipway: there are no rows; send at least one\n"),
        (["predict", "iris", "absent.csv"], "slipway: absent.csv: cannot be read (No such file or directory)\n"),
        (["predict", "iris", "-"], "slipway: stdin: is empty; 'iris' takes rows of sepal_length, sepal_width, "),
        (["predict", "digits", "absent.png"], "slipway: absent.png: cannot be read (No such file or directory)\n"),
        (["predict", "iris", json.dumps(SETOSA), "--version", "99"], "slipway: model 'iris' has no live version '99'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(stack: Stack, arguments: list[str], message: str) -> None:
    done = stack.slipway(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_a_text_file_named_png_is_refused_by_its_name(stack: Stack, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.png"
    wrong.write_text("this is no picture")
    done = stack.slipway("predict", "digits", str(wrong))
    assert done.returncode == 2
    assert done.stderr.startswith(f"slipway: {wrong}: not an image")
    assert len(done.stderr.splitlines()) == 1


def test_no_server_is_one_line_and_exit_code_1(stack: Stack) -> None:
    done = stack.slipway("predict", "iris", json.dumps(SETOSA), "--url", "127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.startswith("slipway: no Triton answers at 127.0.0.1:9")
    assert done.stderr.endswith("start one with: slipway up\n")


def test_models_are_listed_shown_and_activated_by_number(stack: Stack) -> None:
    listed = json.loads(stack.slipway("models", "list", "--json").stdout)
    assert {"model": "digits_net", "versions": [1], "live": [1]} in listed
    shown = json.loads(stack.slipway("models", "show", "iris", "--json").stdout)
    assert shown["version"] == 1
    assert shown["parity"]["batches"][0:2] == [1, 2]
    assert max(shown["parity"]["batches"]) == 64
    assert shown["training"]["metrics"]["accuracy"] > 0.9
    assert len(shown["training"]["baseline"]["features"]) == 4
    told = stack.slipway("models", "show", "iris").stdout
    assert re.search(r"^source +artifacts/iris/model.skops \(sklearn, sha256 [0-9a-f]{12}\)$", told, re.M)
    assert re.search(r"^parity +30 samples at batch 1, 2, 7, 64; largest difference \S+$", told, re.M)


def test_a_new_version_is_published_activated_and_both_answer(stack: Stack) -> None:
    done = stack.slipway("export", "iris", "--activate")
    assert done.returncode == 0, done.stderr
    assert "(live)" in done.stdout
    listed = {row["model"]: row for row in json.loads(stack.slipway("models", "list", "--json").stdout)}
    new = listed["iris"]["versions"][-1]
    assert listed["iris"]["live"][-1] == new
    with Client(stack.grpc) as client:
        assert client.predict("iris", [SETOSA]).version == str(new)
        assert client.predict("iris", [SETOSA], version="1").version == "1"
        back = stack.slipway("models", "activate", "iris", "1")
        assert back.stdout == "iris: live versions are 1; 1 answers by default\n", back.stderr
        assert client.predict("iris", [SETOSA]).version == "1"
        assert stack.slipway("models", "activate", "iris", str(new)).returncode == 0
        assert client.predict("iris", [SETOSA]).version == str(new)
    again = stack.slipway("export", "iris", "--version", str(new))
    assert again.returncode != 0
    assert f"iris/{new} was not published: this version exists" in again.stderr


def test_doctor_names_each_check_with_what_was_found(stack: Stack) -> None:
    checks = {check["name"]: check for check in json.loads(stack.slipway("doctor", "--json").stdout)}
    assert any("python" in name.lower() for name in checks)
    assert all(check["remedy"] for check in checks.values() if check["ok"] is False)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["train", "--help"], ["export", "--help"], ["up", "--help"]])
def test_help_is_help(stack: Stack, arguments: list[str]) -> None:
    assert "Usage" in stack.slipway(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nosuch"], "model = 'nosuch' is not valid: no such card; there are: digits, iris"),
        (["export", "nosuch"], "model = 'nosuch' is not valid: no such card; there are: digits, iris"),
        (["models", "show", "nosuch"], "no model 'nosuch' is served"),
    ],
)
def test_an_unknown_model_is_wrong_usage(stack: Stack, arguments: list[str], message: str) -> None:
    done = stack.slipway(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
