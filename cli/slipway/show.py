"""How the command line speaks: plain lines, tables, JSON, and progress on stderr."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table

_PIPE_WIDTH = 10_000  # nobody looks at it, so no line is folded


def prepare_streams() -> None:
    """Make stdin, stdout and stderr usable whatever the caller did to them.

    A closed one becomes ``/dev/null``, and what an encoding cannot show is escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their descriptors
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def line(text: str = "") -> None:
    """One line of the answer, on stdout, at once. Ends the command quietly when its reader has left (``| head``)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        silence()
        raise SystemExit(0) from None


def note(text: str) -> None:
    """What goes on meanwhile, on stderr, so that a pipe carries answers alone; a lost terminal stops nothing."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def silence() -> None:
    """Send what is left in stdout nowhere: it cannot be written, and Python would complain on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def as_json(value: object) -> None:
    """The answer for programs."""
    readable = codecs.lookup(sys.stdout.encoding).name == "utf-8"
    line(json.dumps(value, ensure_ascii=not readable, indent=2))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal, in which long words are folded; lines of a pipe are left whole."""
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(drawn)
    line("\n".join(text.rstrip() for text in captured.get().splitlines()))


def prediction(item: Mapping[str, Any]) -> str:
    """One prediction in a person's words: the label with its probability, or the value."""
    if "value" in item:
        return f"{item['value']:.6g}"
    return f"{item['label']} ({item['probabilities'][item['label']]:.1%})"


def progress(text: str) -> None:
    """One step of long work, on stderr."""
    note(f"  {text}")
