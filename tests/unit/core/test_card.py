"""A card that cannot be true cannot be built, and the error says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_core.card import ModelCard, find_card
from slipway_core.errors import InvalidCard

CARDS = Path(__file__).parents[3] / "export" / "cards"

TABULAR = """
name = "demo"
task = "classification"
[source]
kind = "sklearn"
path = "model.skops"
[[inputs]]
name = "height"
[output]
labels = ["no", "yes"]
"""


def written(folder: Path, text: str) -> Path:
    card = folder / "demo.toml"
    card.write_text(text, encoding="utf-8")
    return card


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_the_example_cards_are_valid_and_named_like_their_files(name: str) -> None:
    card = ModelCard.from_toml(CARDS / f"{name}.toml")
    assert card.name == name
    assert card.batching.max_batch_size == 64


def test_broken_toml_is_refused_with_the_line_and_the_reason(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "demo"\ntask = classification\n')
    with pytest.raises(InvalidCard) as caught:
        ModelCard.from_toml(path)
    assert str(caught.value) == (
        f"{path}: TOML = 'task = classification' is not valid: cannot be parsed: Invalid value (at line 2, column 8)"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'task = "classification"',
            'task = "clustering"',
            "task = 'clustering' is not valid: Input should be 'classification', 'regression' or 'ranking'",
        ),
        ('name = "demo"', "", "name: this key is required"),
        (
            'name = "demo"',
            'name = "../demo"',
            "name = '../demo' is not valid: "
            "a name starts with a letter and has at most 64 letters, digits, '_' and '-'",
        ),
        (
            'labels = ["no", "yes"]',
            'labels = ["no"]',
            "card: a classifier needs at least two output.labels (or output.labels_file)",
        ),
        (
            'labels = ["no", "yes"]',
            'labels = ["no", "no"]',
            "output: labels must be unique, 'no' is there twice",
        ),
        (
            "[output]",
            "[batching]\nmax_batch_size = 0\n[output]",
            "batching.max_batch_size = 0 is not valid: Input should be greater than or equal to 1",
        ),
        (
            "[output]",
            "[batching]\nmax_batchsize = 8\n[output]",
            "batching.max_batchsize = 8 is not valid: there is no such key in a card",
        ),
        (
            "[output]",
            "[batching]\nmax_batch_size = 8\npreferred_batch_sizes = [16]\n[output]",
            "batching: preferred_batch_sizes must lie in 1..8, got 16",
        ),
        (
            '[[inputs]]\nname = "height"',
            "",
            "card: a card has either [[inputs]] (tabular) or [image], not both and not neither",
        ),
        (
            '[[inputs]]\nname = "height"',
            '[[inputs]]\nname = "height"\n[[inputs]]\nname = "height"',
            "card: inputs must have unique names, 'height' is there twice",
        ),
        (
            '[[inputs]]\nname = "height"',
            "[image]\nheight = 8\nwidth = 8\nresize = 'crop'",
            "image: shorter_side goes with resize = 'crop', and only with it",
        ),
        (
            '[[inputs]]\nname = "height"',
            "[image]\nheight = 8\nwidth = 8\nmean = [nan]",
            "image.mean.0 = nan is not valid: Input should be a finite number",
        ),
        (
            "[output]",
            "[tolerance]\nabsolute = inf\n[output]",
            "tolerance.absolute = inf is not valid: Input should be a finite number",
        ),
        (
            "[output]",
            "[tolerance]\nrelative = nan\n[output]",
            "tolerance.relative = nan is not valid: Input should be a finite number",
        ),
        (
            "[output]",
            "[tolerance]\nabsolute = -1e-5\n[output]",
            "tolerance.absolute = -1e-05 is not valid: Input should be greater than or equal to 0",
        ),
        (
            'name = "demo"',
            'name = "demo"\ntolerance = inf',
            "tolerance = inf is not valid: this is a table of keys",
        ),
        (
            'name = "demo"',
            'name = "other"',
            "name = 'other' is not valid: a card's file is named like its model: other.toml",
        ),
    ],
)
def test_a_wrong_key_is_named_with_its_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = written(tmp_path, TABULAR.replace(old, new))
    with pytest.raises(InvalidCard) as caught:
        ModelCard.from_toml(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_card_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidCard, match="cannot be read"):
        ModelCard.from_toml(tmp_path / "absent.toml")
    (tmp_path / "linked.toml").symlink_to(tmp_path / "gone")
    with pytest.raises(InvalidCard) as caught:
        ModelCard.from_toml(find_card("linked", (tmp_path,)))
    assert str(caught.value) == (
        f"card = '{tmp_path / 'linked.toml'}' is not valid: cannot be read (No such file or directory)"
    )
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidCard, match="a card is UTF-8 text"):
        ModelCard.from_toml(binary)


def test_labels_come_from_a_file_beside_the_card(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("no\nyes", encoding="utf-8")
    card = ModelCard.from_toml(
        written(tmp_path, TABULAR.replace('labels = ["no", "yes"]', 'labels_file = "classes.txt"'))
    )
    assert card.output.labels == ("no", "yes")


def test_a_labels_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCard, match=r"output\.labels_file = .*absent\.txt.* cannot be read"):
        ModelCard.from_toml(written(tmp_path, TABULAR.replace('labels = ["no", "yes"]', 'labels_file = "absent.txt"')))


def test_an_unknown_model_name_lists_the_cards_there_are() -> None:
    with pytest.raises(InvalidCard) as caught:
        find_card("irsi", (CARDS,))
    assert str(caught.value) == "model = 'irsi' is not valid: no such card; there are: digits, iris"
