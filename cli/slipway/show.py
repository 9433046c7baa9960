"""How the command line speaks: plain lines, tables, JSON, and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def line(text: str = "") -> None:
    """One line of the answer, on stdout, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """What goes on meanwhile, on stderr, so that a pipe carries answers alone."""
    print(text, file=sys.stderr, flush=True)


def as_json(value: object) -> None:
    """The answer for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; lines of a pipe are not cut."""
    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold", show_edge=False)
    for row in rows:
        drawn.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(drawn)


def prediction(item: Mapping[str, Any]) -> str:
    """One prediction in a person's words: the label with its probability, or the value."""
    if "value" in item:
        return f"{item['value']:.6g}"
    return f"{item['label']} ({item['probabilities'][item['label']]:.1%})"


def progress(text: str) -> None:
    """One step of long work, on stderr."""
    note(f"  {text}")
