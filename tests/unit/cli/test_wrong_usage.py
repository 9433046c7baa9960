"""What a user can get wrong before any server is asked is one line and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def slipway(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway", *arguments]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "nosuch"], 2, "slipway: model = 'nosuch' is not valid: no such card; there are: digits, iris\n"),
        (["export", "nosuch"], 2, "slipway: model = 'nosuch' is not valid: no such card; there are: digits, iris\n"),
        (
            ["export", "absent.toml"],
            2,
            "slipway: card = 'absent.toml' is not valid: cannot be read (No such file or directory)\n",
        ),
        (
            ["export", "iris"],
            1,
            "slipway: cannot export 'iris': artifacts/iris/model.skops does not exist; "
            "train it (slipway train iris), or mend source.path\n",
        ),
        (["models", "show", "iris"], 2, "slipway: no model 'iris' is served\n"),
        (["serve", "absent"], 1, "slipway: absent: "),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    done = slipway(*arguments, cwd=tmp_path)
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["nosuchverb"], ["export"], ["export", "iris", "--version", "0"], ["serve", "--server", "podman"], ["up", "--x"]],
)
def test_wrong_options_are_refused_by_the_parser(tmp_path: Path, arguments: list[str]) -> None:
    done = slipway(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_broken_card_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "mine.toml").write_text('name = "mine"\ntask = \n')
    done = slipway("export", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "slipway: cards/mine.toml: TOML = 'task =' is not valid: cannot be parsed: "
        "Invalid value (at line 2, column 8)\n"
    )


def test_nothing_published_is_said_and_not_an_error(tmp_path: Path) -> None:
    done = slipway("models", "list", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0,
        "nothing is published in model_repository; publish with: slipway export MODEL\n",
    )


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m slipway --help | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
