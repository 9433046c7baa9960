"""How the command ends when it is told to: Ctrl-C, SIGTERM, a terminal that is closed."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType

_INTERRUPTING = (signal.SIGTERM, signal.SIGHUP)
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def make_interruptible() -> None:
    """Have SIGTERM and SIGHUP interrupt as Ctrl-C does, so that what was begun is undone; exit code 128 + number.

    A signal that is ignored stays so: that is what ``nohup`` asks for.
    """
    for number in _INTERRUPTING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def make_mortal() -> None:
    """Have every signal end the process without a word: the work is over, and Python is about to take itself apart."""
    for number in _STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


class StopSignals:
    """The signals that asked for an orderly end."""

    def __init__(self) -> None:
        # Its put() may interrupt its get() in the same thread, which the lock of an Event would not survive.
        self._received: SimpleQueue[int] = SimpleQueue()

    def wait(self, timeout_s: float) -> bool:
        """Whether one came within the time."""
        try:
            self._received.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def receive(self, number: int, _: FrameType | None) -> None:
        """The handler."""
        self._received.put(number)


@contextmanager
def stop_signals() -> Generator[StopSignals]:
    """Gather Ctrl-C, SIGTERM and SIGHUP for an orderly end; after the block they interrupt again."""
    signals = StopSignals()
    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number, handler in before.items():
        if number == signal.SIGINT or handler is not signal.SIG_IGN:
            signal.signal(number, signals.receive)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
