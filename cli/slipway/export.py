"""``slipway export``: trained model -> ONNX -> parity -> config.pbtxt -> published version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from slipway import show
from slipway.places import (
    DEFAULT_REPOSITORY,
    DEFAULT_URL,
    JsonOption,
    RepositoryOption,
    UrlOption,
    card_named,
)
from slipway_client import Client

MOST_VERSION = 2**31 - 1

if TYPE_CHECKING:
    from slipway_export import Published


def export(
    model: Annotated[str, typer.Argument(help="The model's name, or a path to its card.")],
    version: Annotated[
        int | None, typer.Option(help="Publish as this number instead of the next free one.", min=1, max=MOST_VERSION)
    ] = None,
    activate: Annotated[
        bool, typer.Option("--activate", help="Load it in the running Triton, without a pause.")
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(help="A file of weights instead of the card's, or torchvision's own by name (DEFAULT)."),
    ] = None,
    allow_pickle: Annotated[
        bool,
        typer.Option(
            "--allow-pickle", help="Load a model that is a pickle: this runs whatever code its maker put there."
        ),
    ] = False,
    url: UrlOption = DEFAULT_URL,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    json_: JsonOption = False,
) -> None:
    """Convert a trained model, prove that it answers as before, and publish it as a new version."""
    import slipway_export

    card = card_named(model)
    if weights is not None:
        card = card.with_weights(weights)
    if activate:
        _require_triton(url)
    published = slipway_export.export(
        card,
        repository=repository,
        version=version,
        activate_on=url if activate else None,
        allow_pickle=allow_pickle,
        progress=show.progress,
    )
    if json_:
        show.as_json(_facts(published))
        return
    for text in lines(published):
        show.line(text)


def _require_triton(url: str) -> None:
    """Before the work, not after it. Raises :class:`ServerUnavailable`."""
    with Client(url) as client:
        client.index()


def lines(published: Published) -> list[str]:
    """What a person wants to know after an export."""
    parity = published.parity
    worst = max(parity.outputs, key=lambda output: output.difference)
    state = "live" if published.live else f"not live yet: slipway models activate {published.model} {published.version}"
    return [
        f"{published.model}/{published.version}: parity holds on {parity.samples} samples at batch "
        f"{', '.join(map(str, parity.batches))} (largest difference {worst.difference:.2g} in {worst.output!r})",
        f"published {published.path} ({state})",
    ]


def _facts(published: Published) -> dict[str, object]:
    return {
        "model": published.model,
        "version": published.version,
        "path": str(published.path),
        "live": published.live,
        "parity": published.parity.model_dump(mode="json"),
    }
