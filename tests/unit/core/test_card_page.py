"""The page about cards names every key there is, and its example is a card."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel

from slipway_core.batching import Batching
from slipway_core.card import Feature, Instances, ModelCard, Output, Source, Tolerance
from slipway_core.images import ImageSpec

PAGE = (Path(__file__).parents[3] / "docs" / "card.md").read_text(encoding="utf-8")


def test_every_key_of_a_card_is_on_the_page() -> None:
    parts: tuple[type[BaseModel], ...] = (Source, Feature, ImageSpec, Output, Batching, Instances, Tolerance)
    keys = {key for part in parts for key in part.model_fields} | {"name", "task", "description"}
    missing = {key for key in keys if not re.search(rf"\b{key}\b", PAGE)}
    assert not missing


def test_the_pages_example_is_a_card(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "imagenet_classes.txt").write_text("daisy\ntulip\n")
    card = tmp_path / "mobilenet.toml"
    card.write_text(example)
    assert ModelCard.from_toml(card).net_name == "mobilenet_net"
