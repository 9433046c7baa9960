"""``python -m slipway_export <card>``: export one model, without the rest of the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from slipway_core.card import ModelCard, find_card
from slipway_core.errors import SlipwayError
from slipway_export import export

CARD_FOLDERS = (Path("export/cards"), Path(__file__).parent / "cards")


def main(
    card: Annotated[str, typer.Argument(help="A path to a card, or the name of one in export/cards.")],
    repository: Annotated[Path, typer.Option(help="Triton's model repository.")] = Path("model_repository"),
    version: Annotated[int | None, typer.Option(help="Instead of the next free number.", min=1)] = None,
    activate_on: Annotated[str | None, typer.Option(help="gRPC address of a running Triton.")] = None,
) -> None:
    """Convert a trained model, compare it with its source, and publish it as a new version."""
    try:
        published = export(
            ModelCard.from_toml(find_card(card, CARD_FOLDERS)),
            repository=repository,
            version=version,
            activate_on=activate_on,
            progress=lambda text: typer.echo(text, err=True),
        )
    except SlipwayError as e:
        typer.echo(f"error: {e}", err=True)
        sys.exit(1)
    typer.echo(f"{published.path} ({'live' if published.live else 'not live'})")


if __name__ == "__main__":
    typer.run(main)
