"""The wheel holds what it must, and each extra alone is enough for its room."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from support.environments import ROOT, Environment, built_wheel, new_environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_wheel(tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_backends_the_decode_model_the_page_and_the_cards(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "slipway_serving/backends/onnxruntime/model.py",
        "slipway_export/image_model/model.py",
        "slipway_export/image_model/decoding.py",
        "slipway_export/cards/iris.toml",
        "slipway_export/cards/digits.toml",
    } <= names
    tracked = {"core", "client", "export", "serving", "frontend", "training", "cli", "benchmarks"}
    data = {
        str(path.relative_to(ROOT / room))
        for room in tracked
        for path in (ROOT / room).glob("slipway*/**/*")
        if path.is_file() and path.suffix not in {".pyc"} and "__pycache__" not in path.parts
    }
    assert data <= names, "every file of a room is packed"
    assert not any(name.startswith(("tests/", "model_repository/")) for name in names)


EXTRAS = {
    "": ["slipway"],
    "export": ["python", "-m", "slipway_export"],
    "serve": ["python", "-m", "slipway_serving"],
    "frontend": ["python", "-m", "slipway_frontend"],
    "train": ["python", "-m", "slipway_training"],
    "bench": ["python", "-m", "slipway_bench"],
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_extra_alone_runs_its_rooms_help(extra: str, wheel: Path, tmp_path: Path) -> None:
    environment = new_environment(tmp_path / "env")
    environment.install(f"slipway[{extra}] @ {wheel.as_uri()}" if extra else str(wheel))
    shown = environment.run(*EXTRAS[extra], "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Usage" in shown.stdout or "usage" in shown.stdout
    client = environment.run("python", "-c", "from slipway import Client; print(Client.__name__)")
    assert client.stdout == "Client\n", client.stderr


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = new_environment(tmp_path_factory.mktemp("plain") / "env")
    environment.install(str(wheel))
    return environment


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "iris"], "slipway: training needs"),
        (["export", "iris"], "slipway: exporting needs"),
        (["serve", "."], "slipway: serving needs"),
    ],
)
def test_a_missing_extra_says_what_to_type(plain: Environment, command: list[str], message: str) -> None:
    done = plain.run("slipway", *command)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert 'pip install "slipway[' in done.stderr
    assert len(done.stderr.splitlines()) == 1
