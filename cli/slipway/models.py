"""``slipway models``: what is published, what is live, and which version answers."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway import show
from slipway.places import DEFAULT_REPOSITORY, DEFAULT_URL, JsonOption, RepositoryOption, UrlOption
from slipway_core.errors import ModelNotFound, RepositoryBroken
from slipway_core.layout import ModelDirectory, model_names
from slipway_core.manifest import Manifest

app = typer.Typer(help="What is published, what is live, and which version answers.", no_args_is_help=True)
ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]


@app.command("list")
def list_models(repository: RepositoryOption = DEFAULT_REPOSITORY, json_: JsonOption = False) -> None:
    """List every published model with its versions and which of them are live."""
    from slipway_export import live_versions

    rows = [
        {
            "model": name,
            "versions": ModelDirectory(repository, name).versions(),
            "live": list(live_versions(repository, name)),
        }
        for name in model_names(repository)
    ]
    if json_:
        show.as_json(rows)
        return
    if not rows:
        show.line(f"nothing is published in {repository}; publish with: slipway export MODEL")
        return
    show.table(
        ("model", "versions", "live"),
        [(str(row["model"]), _numbers(row["versions"]), _numbers(row["live"])) for row in rows],
    )


def _numbers(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) and value else "-"


@app.command("show")
def show_model(
    model: ModelArgument,
    version: Annotated[int | None, typer.Option(min=1, help="This version instead of the newest.")] = None,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
    json_: JsonOption = False,
) -> None:
    """Show where a version came from and how it was proven; with --json its whole manifest."""
    directory = ModelDirectory(repository, model)
    versions = directory.versions()
    if not versions or (version is not None and version not in versions):
        raise ModelNotFound(model, str(version or ""), model_names(repository) if not versions else [])
    path = directory.manifest(version or versions[-1])
    try:
        manifest = Manifest.read(path)
    except (OSError, ValueError) as e:
        raise RepositoryBroken(str(path), f"is no readable manifest ({str(e).splitlines()[0]})") from None
    if json_:
        show.as_json(manifest.model_dump(mode="json"))
    else:
        show.table(("version", f"{manifest.model}/{manifest.version}"), _facts(manifest))


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    source, parity, training = manifest.source, manifest.parity, manifest.training
    facts = [
        ("published", f"{manifest.created} by slipway {manifest.slipway}"),
        ("source", f"{source.path} ({source.kind}, sha256 {source.sha256[:12]})"),
        ("files", ", ".join(manifest.files)),
    ]
    if parity is not None:
        worst = max((output.difference for output in parity.outputs), default=0.0)
        batches = ", ".join(map(str, parity.batches))
        facts.append(("parity", f"{parity.samples} samples at batch {batches}; largest difference {worst:.2g}"))
    if training is not None:
        facts.append(("training", f"accuracy {training.metrics.accuracy:.4f} on {training.rows_test} held-out rows"))
    return facts


@app.command("activate")
def activate_version(
    model: ModelArgument,
    version: Annotated[int, typer.Argument(min=1, help="A published version.")],
    url: UrlOption = DEFAULT_URL,
    repository: RepositoryOption = DEFAULT_REPOSITORY,
) -> None:
    """Make a published version the one that answers, in the running Triton, without a pause."""
    import slipway_export

    if model not in model_names(repository):
        raise ModelNotFound(model, "", model_names(repository))
    live = slipway_export.activate(repository, model, version, address=url)
    show.line(f"{model}: live versions are {', '.join(map(str, live))}; {live[-1]} answers by default")
