"""The command ``slipway``: one verb a module, errors in one line, exit codes 0 (fine), 1 (failed), 2 (wrong usage)."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from slipway import doctor, export, models, predict, serve, show, train, up
from slipway.endings import make_interruptible, make_mortal
from slipway_core.errors import InvalidCard, InvalidInput, ModelNotFound, SlipwayError, WrongTask

app = typer.Typer(
    name="slipway",
    help="From a trained model to a served, verified, measured endpoint on NVIDIA Triton.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("export")(export.export)
app.command("serve")(serve.serve)
app.command("up")(up.up)
app.command("predict")(predict.predict)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)

WRONG_USAGE = (InvalidCard, InvalidInput, ModelNotFound, WrongTask)


def _print_version(wanted: bool) -> None:
    if wanted:
        show.line(f"slipway {installed_version('slipway')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Options that stand before the verb."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InvalidInput("the folder this was started in has been deleted; change to one that exists") from None


def main() -> None:
    """Run the command line; a user's error is one line on stderr, never a traceback."""
    show.prepare_streams()
    make_interruptible()
    try:
        app()
    except SlipwayError as e:
        show.note(f"slipway: {e}")
        sys.exit(2 if isinstance(e, WRONG_USAGE) else 1)
    except OSError as e:
        show.silence()
        show.note(f"slipway: {e.filename or 'the output'}: {e.strerror or e}")
        sys.exit(1)
    finally:
        make_mortal()
