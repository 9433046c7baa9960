"""What a person sees while a recipe runs, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import pty
from contextlib import suppress

import pytest

from slipway_training import ConsoleProgress


def everything_written_to(terminal: int) -> str:
    """What arrived at our end of a terminal whose other end is closed."""
    parts: list[bytes] = []
    with suppress(OSError):  # how Linux says that the other end is closed
        while part := os.read(terminal, 65536):
            parts.append(part)
    os.close(terminal)
    return b"".join(parts).decode()


def test_elsewhere_than_on_a_terminal_it_writes_plain_lines() -> None:
    stream = io.StringIO()
    with ConsoleProgress(stream) as progress:
        progress.note("a note with [brackets] and a long tail " + "x" * 200)
        progress.begin("training", 60)
        for epoch in range(30):
            progress.step(f"loss {epoch}")
        progress.end("stopped early")
        progress.begin("drawing", 1)
        progress.end()
    assert stream.getvalue().splitlines() == [
        "a note with [brackets] and a long tail " + "x" * 200,
        "training ...",
        "training 6/60  loss 5",
        "training 12/60  loss 11",
        "training 18/60  loss 17",
        "training 24/60  loss 23",
        "training 30/60  loss 29",
        "training: stopped early",
        "drawing ...",
    ]
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_it_draws_a_bar_and_gives_the_cursor_back_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w") as terminal,
        pytest.raises(ZeroDivisionError),
        ConsoleProgress(terminal) as progress,
    ):
        progress.begin("training", 2)
        progress.step("loss [0.5]")
        progress.note("a note")
        raise ZeroDivisionError
    shown = everything_written_to(ours)
    assert "training" in shown
    assert "1/2" in shown
    assert "loss [0.5]" in shown
    assert "a note" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"
