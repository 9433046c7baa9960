"""What a user can get wrong before any server is asked is one line and an exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
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
        (
            ["up", "--host", "nosuch.invalid"],
            1,
            "slipway: the frontend's port 8080 cannot be bound: nosuch.invalid is ",
        ),
        *(
            (
                ["predict", "iris", "{}", "--timeout", given],
                2,
                f"slipway: --timeout must be a number of seconds from 0.001 to 1000000, got {given}\n",
            )
            for given in ("inf", "nan", "0", "-1")
        ),
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
    command = f"set -o pipefail; {sys.executable} -m slipway models list | head -0"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["train iris", "models list", "doctor"])
def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path: Path, verb: str) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && {sys.executable} -m slipway {verb}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "slipway: the folder this was started in has been deleted; change to one that exists\n",
    )


def test_a_port_in_use_is_a_problem_that_doctor_names_with_its_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        with suppress(OSError):  # somebody else's use of it does as well
            taken.bind(("127.0.0.1", 8000))
            taken.listen()
        done = slipway("doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1
    (port,) = (check for check in json.loads(done.stdout) if check["name"].startswith("port 8000"))
    assert port["ok"] is False
    assert "is in use by" in port["found"]
    assert "--http-port" in port["remedy"]


def test_a_table_in_a_pipe_keeps_every_row_on_one_line(tmp_path: Path) -> None:
    rows = slipway("doctor", cwd=tmp_path).stdout.splitlines()[1:]
    checks = json.loads(slipway("doctor", "--json", cwd=tmp_path).stdout)
    assert [row.split("  ")[0] for row in rows] == [check["name"] for check in checks]
    assert all(row == row.rstrip() for row in rows)
