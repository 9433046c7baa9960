"""What tests of the recipes share: cards, tables of irises to spoil, and a progress that remembers."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sklearn.datasets import load_iris

from slipway_core.card import ModelCard
from support.environments import ROOT

CARDS = ROOT / "export" / "cards"
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
NAMES = ["setosa", "versicolor", "virginica"]


def card(model: str, **changes: Any) -> ModelCard:
    """A shipped card, with whole tables of it replaced."""
    plain = ModelCard.from_toml(CARDS / f"{model}.toml").model_dump(mode="json", exclude_defaults=True)
    return ModelCard.from_mapping({**plain, **changes})


def iris_rows() -> list[list[str]]:
    """scikit-learn's 150 rows as text: four measurements and the species."""
    bunch: Any = load_iris()
    return [
        [*(f"{value:g}" for value in row), NAMES[target]]
        for row, target in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True)
    ]


def write_csv(path: Path, header: list[str], rows: list[list[str]], delimiter: str = ",") -> Path:
    """A CSV file at ``path``."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return path


def run_training(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """``python -m slipway_training`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "slipway_training", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def summary_without_time(folder: Path) -> dict[str, Any]:
    """A run's summary without the one thing that may differ between equal runs."""
    summary = json.loads((folder / "summary.json").read_text())
    assert summary.pop("seconds") > 0
    return summary


class Remembered:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int]] = []
        self.steps: list[str] = []
        self.notes: list[str] = []

    def begin(self, task: str, total: int) -> None:
        self.tasks.append((task, total))

    def step(self, detail: str = "") -> None:
        self.steps.append(detail)

    def end(self, detail: str = "") -> None: ...

    def note(self, line: str) -> None:
        self.notes.append(line)
