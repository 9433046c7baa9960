"""`make clean` takes away what was made and nothing that was written."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.environments import ROOT

TRACKED = ("Makefile", ".gitignore", "model_repository/iris/config.pbtxt", "model_repository/iris/labels.txt")
MADE = (
    "artifacts/iris/model.skops",
    "artifacts/.iris.lock",
    "model_repository/.iris.lock",
    "model_repository/iris/1/model.onnx",
    "model_repository/iris/12/manifest.json",
    "model_repository/iris/.staging/3/model.onnx",
    ".venv/bin/python",
    "dist/slipway.whl",
)


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True).stdout


def _clean(folder: Path) -> None:
    subprocess.run(["make", "clean"], cwd=folder, capture_output=True, text=True, timeout=30, check=True)


def test_what_was_trained_and_published_goes_and_tracked_files_stay(tmp_path: Path) -> None:
    for name in TRACKED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", "--all")
    _git(tmp_path, "commit", "--quiet", "--message", "tracked")
    for name in MADE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    _clean(tmp_path)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".git/")} == set(TRACKED)
    assert _git(tmp_path, "status", "--porcelain") == ""


def test_a_folder_in_which_nothing_was_made_is_clean_already(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    _clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
