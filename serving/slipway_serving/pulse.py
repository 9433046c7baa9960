"""Notices a Triton that runs and no longer answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from slipway_client import Client

ASK_EVERY_S = 1.0
# On a machine that is merely busy one of several questions is answered in time.
QUESTIONS = 3


class Pulse:
    """Asks a Triton whether it lives, in a thread until told to stop.

    ``on_silence`` is called once, when no answer has come for ``hung_s`` seconds although Triton was asked all the
    while. A refused connection is no silence: such a Triton is ending, which its guardian tells.
    """

    def __init__(self, address: str, hung_s: float, on_silence: Callable[[], None]) -> None:
        self._deadline_s = hung_s / QUESTIONS
        self._client = Client(address, deadline_s=self._deadline_s)
        self._on_silence = on_silence
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="slipway-pulse", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no longer; a question in flight is taken back."""
        self._stopping.set()
        self._client.close()

    def _listen(self) -> None:
        unanswered = 0
        while not self._stopping.wait(0 if unanswered else ASK_EVERY_S):
            begin = time.monotonic()
            try:
                answered = self._client.live()
            except Exception:  # any error is an answer, or the client was closed by stop()
                answered = True
            silent = not answered and time.monotonic() - begin >= 0.9 * self._deadline_s
            unanswered = unanswered + 1 if silent else 0
            if unanswered == QUESTIONS and not self._stopping.is_set():
                self._on_silence()
                return
