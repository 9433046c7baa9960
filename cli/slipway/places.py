"""Where the command line looks for cards, artifacts and the model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway_core.card import ModelCard, find_card

CARD_FOLDERS = (Path("export/cards"), Path("cards"))

RepositoryOption = Annotated[
    Path,
    typer.Option("--repository", "-r", envvar="SLIPWAY_REPOSITORY", help="Triton's model repository."),
]
UrlOption = Annotated[
    str, typer.Option("--url", envvar="SLIPWAY_TRITON_GRPC", help="Triton's gRPC address, host:port.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DEFAULT_REPOSITORY = Path("model_repository")
DEFAULT_URL = "127.0.0.1:8001"


def shipped_cards() -> Path:
    """The example cards: inside the wheel, or ``export/cards`` of a checkout."""
    import slipway_export

    room = Path(slipway_export.__file__).parent
    packed = room / "cards"
    return packed if packed.is_dir() else room.parent / "cards"


def card_named(name: str) -> ModelCard:
    """The card of a model: a path to a ``.toml``, or a name looked up here first and then among the examples."""
    return ModelCard.from_toml(find_card(name, (*CARD_FOLDERS, shipped_cards())))
