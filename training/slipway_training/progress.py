"""What a recipe tells the person who waits for it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichBar

_LINES_PER_TASK = 10


class Progress(Protocol):
    """Where a recipe reports to. One task runs at a time; beginning another ends it."""

    def begin(self, task: str, total: int) -> None:
        """A task of ``total`` steps begins."""
        ...

    def step(self, detail: str = "") -> None:
        """One more step is done; ``detail`` says in a few words how it went."""
        ...

    def end(self, detail: str = "") -> None:
        """The task is over, possibly before its last step."""
        ...

    def note(self, line: str) -> None:
        """Something a person should know afterwards too."""
        ...


class SilentProgress:
    """Tells nobody."""

    def begin(self, task: str, total: int) -> None: ...

    def step(self, detail: str = "") -> None: ...

    def end(self, detail: str = "") -> None: ...

    def note(self, line: str) -> None: ...


class ConsoleProgress:
    """A bar on a terminal; on anything else plain lines, at most ten or so a task and no control characters.

    Writes to standard error unless given a stream, so that standard output stays free for results. Use it as a
    context manager: leaving it gives the terminal back, whatever happened.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._console = Console(file=self._stream)
        self._is_terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar: RichBar | None = None
        self._task, self._done, self._total = "", 0, 0

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_bar()

    def begin(self, task: str, total: int) -> None:
        self._stop_bar()
        self._task, self._done, self._total = task, 0, total
        if not self._is_terminal:
            self.note(f"{task} ...")
            return
        self._bar = RichBar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
        )
        self._bar.add_task(task, total=total, detail="")
        self._bar.start()

    def step(self, detail: str = "") -> None:
        tenths_before = self._done * _LINES_PER_TASK // max(self._total, 1)
        self._done += 1
        if self._bar is not None:
            self._bar.update(TaskID(0), advance=1, detail=detail)
        elif self._done * _LINES_PER_TASK // max(self._total, 1) > tenths_before:
            self.note(f"{self._task} {self._done}/{self._total}" + (f"  {detail}" if detail else ""))

    def end(self, detail: str = "") -> None:
        if self._bar is not None:
            self._bar.update(TaskID(0), total=self._done, detail=detail)
        self._stop_bar()
        if detail and not self._is_terminal:
            self.note(f"{self._task}: {detail}")

    def note(self, line: str) -> None:
        if self._is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
