"""Foreign exceptions, for a person."""

from __future__ import annotations


def one_line(error: Exception, limit: int = 240) -> str:
    """An exception's message on one line, shortened to ``limit`` characters; its type's name if it has none."""
    text = " ".join(str(error).replace("[ONNXRuntimeError] : ", "").split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
