"""``python -m slipway_training``: run a recipe without the rest of slipway."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from slipway_core.card import ModelCard, find_card
from slipway_core.errors import SlipwayError
from slipway_training.recipes import LARGEST_SEED, RECIPES, REPORT_FILE, train

app = typer.Typer(add_completion=False)

_HELP = "Train a model by its recipe and write model, samples, summary and report.\n\nRecipes:\n\n" + "\n\n".join(
    f"- {recipe.name}: {recipe.description}" for recipe in RECIPES.values()
)


@app.command(help=_HELP)
def run(
    model: Annotated[str, typer.Argument(help="The card's name, or a path to a card (.toml).")],
    cards: Annotated[Path, typer.Option(help="The folder of the cards.")] = Path("export/cards"),
    out: Annotated[Path | None, typer.Option(help="Default: the folder of the card's source.path.")] = None,
    data: Annotated[Path | None, typer.Option(help="Train on this file instead of the recipe's own data.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Default: the recipe named like the card.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=LARGEST_SEED)] = 42,
) -> None:
    try:
        card = ModelCard.from_toml(find_card(model, (cards,)))
        folder = out or card.source.file.parent
        summary = train(card, out=folder, data=data, seed=seed, recipe=recipe)
    except SlipwayError as e:
        typer.echo(str(e), err=True)
        sys.exit(1)
    typer.echo(f"{card.name}: accuracy {summary.metrics.accuracy:.4f} on {summary.rows_test} held-out rows")
    typer.echo(f"report: {folder / REPORT_FILE}")


if __name__ == "__main__":
    app(prog_name="python -m slipway_training")
