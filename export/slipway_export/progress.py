"""What an export tells while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

Step = Literal["load", "convert", "parity", "publish", "activate"]

# Called with one line per event, "<step>: <what>"; must return soon. An exception from it ends the export, and the
# repository is then as it was before, or as the next export repairs it.
Progress: TypeAlias = Callable[[str], None]


def silent(text: str) -> None:
    """Tell nobody."""


def tell(progress: Progress, step: Step, what: str) -> None:
    """One event, in the form that every listener gets."""
    progress(f"{step}: {what}")
