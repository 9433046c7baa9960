"""What an export tells while it runs."""

from __future__ import annotations

from typing import Literal, Protocol

Step = Literal["load", "convert", "parity", "publish", "activate"]


class Progress(Protocol):
    """Called with each step when it begins and with what becomes known during it; must return soon.

    An exception from it ends the export; the repository is then as it was, or as the next export repairs it.
    """

    def __call__(self, step: Step, detail: str) -> None: ...


def silent(step: Step, detail: str) -> None:
    """Tell nobody."""
