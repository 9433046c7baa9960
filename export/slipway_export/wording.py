"""Foreign exceptions and paths, for a person."""

from __future__ import annotations

from pathlib import Path

from slipway_core.card import ModelCard


def one_line(error: Exception, limit: int = 240) -> str:
    """An exception's message on one line, shortened to ``limit`` characters; its type's name if it has none."""
    text = " ".join(str(error).replace("[ONNXRuntimeError] : ", "").split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def absent(path: Path) -> str:
    """A path that is not there; of a link also where it leads."""
    return f"{path} (a link to {path.readlink()})" if path.is_symlink() else str(path)


def way_to_source(card: ModelCard) -> str:
    """How to get the card's trained model, when it is not there: what has a summary came from a recipe."""
    how = f"train it (slipway train {card.name})" if card.source.summary else "copy it there"
    return f"{how}, or mend source.path"
