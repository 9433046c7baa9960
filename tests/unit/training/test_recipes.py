"""Which recipes there are, which cards and settings they take, and what a missing extra says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import slipway_training
from slipway_core.errors import TrainingFailed
from slipway_training import RECIPES, SilentProgress, train
from support.training import CARDS, FEATURES, NAMES, card, run_training

IRIS: dict[str, Any] = {"inputs": [{"name": name} for name in FEATURES], "output": {"labels": NAMES}}


def test_the_room_offers_exactly_what_it_lists() -> None:
    assert list(RECIPES) == ["iris", "digits"]
    assert all(hasattr(slipway_training, name) for name in slipway_training.__all__)


def test_importing_the_room_loads_no_numerical_library() -> None:
    code = (
        "import sys, slipway_training\n"
        "print(*sorted({'sklearn', 'torch', 'matplotlib', 'skops', 'jinja2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("model", "changes", "complaint"),
    [
        ("iris", {"name": "roses"}, "cannot train 'roses': there is no such recipe; there are: iris, digits"),
        (
            "iris",
            {"inputs": [{"name": "weight"}]},
            "cannot train 'iris': the card's inputs must be sepal_length, sepal_width, petal_length, petal_width "
            "in any order, not weight",
        ),
        (
            "iris",
            {"output": {"labels": ["rose", "tulip"]}},
            "cannot train 'iris': scikit-learn's rows are labelled setosa, versicolor, virginica; "
            "the card has rose, tulip",
        ),
        (
            "iris",
            {"source": {"kind": "torch", "path": "m.pt2"}},
            "cannot train 'iris': the card must have task = 'classification' and source.kind = 'sklearn'",
        ),
        (
            "digits",
            {"image": {"height": 28, "width": 28, "channels": 1}},
            "cannot train 'digits': the card's image is 28 x 28 x 1, the recipe's are 8 x 8 x 1",
        ),
        (
            "digits",
            {"image": None, **IRIS},
            "cannot train 'digits': the card needs an [image] of 8 x 8 x 1",
        ),
        (
            "digits",
            {"output": {"labels": ["even", "odd"]}},
            "cannot train 'digits': the card must be a classification with 10 labels, one for each digit from 0",
        ),
        (
            "digits",
            {"source": {"kind": "torch", "path": "m.pt2", "output": "probabilities"}},
            "cannot train 'digits': the card must have source.kind = 'torch' and source.output = 'logits'",
        ),
    ],
)
def test_a_card_that_a_recipe_cannot_train_is_refused(
    model: str, changes: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingFailed) as refused:
        train(card(model, **changes), out=tmp_path / "out", progress=SilentProgress())
    assert str(refused.value) == complaint
    assert not (tmp_path / "out").exists()


def test_digits_takes_no_other_data(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed) as refused:
        train(card("digits"), out=tmp_path / "out", data=tmp_path / "x.csv", progress=SilentProgress())
    assert str(refused.value) == (
        "cannot train 'digits': it has its own images, scikit-learn's handwritten digits, and takes no other data"
    )


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_beyond_32_bits_is_refused(seed: int, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed) as refused:
        train(card("iris"), out=tmp_path / "out", seed=seed, progress=SilentProgress())
    assert str(refused.value) == f"cannot train 'iris': the seed must lie in 0..4294967295, got {seed}"


def test_without_the_extra_it_says_what_to_type(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['sklearn'] = None\n"
        f"sys.argv = ['slipway_training', 'iris', '--cards', {str(CARDS)!r}]\n"
        "runpy.run_module('slipway_training', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr == 'training needs scikit-learn: pip install "slipway[train]"\n'
    assert list(tmp_path.iterdir()) == []


def test_the_modules_help_names_the_recipes(tmp_path: Path) -> None:
    done = run_training("--help", cwd=tmp_path, COLUMNS="200")
    shown, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    assert all(f"- {recipe.name}: {recipe.description}" in shown for recipe in RECIPES.values())


def test_an_unknown_card_is_one_line(tmp_path: Path) -> None:
    done = run_training("roses", "--cards", str(CARDS), cwd=tmp_path)
    _, complaint = done.communicate(timeout=60)
    assert (done.returncode, complaint) == (
        1,
        "model = 'roses' is not valid: no such card; there are: digits, iris\n",
    )
