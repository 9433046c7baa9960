"""Notices a frontend that runs and no longer answers."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ASK_EVERY_S = 2.0
QUESTIONS = 3
# One that computes is busy rather than frozen: answers take long under a heavy load, and killing it would lose them.
BUSY_SHARE, BUSY_QUESTIONS = 0.1, 4 * QUESTIONS


class Heartbeat:
    """Asks a frontend's ``/healthz``, in a thread until told to stop, and kills it when it stays silent.

    It has stayed silent when ``QUESTIONS`` questions in a row got no answer within ``hung_s`` seconds in all; four
    times as many for one that computes meanwhile. A refused connection is no silence: such a frontend is starting or
    has ended. ``silent_s`` is for how long it had been silent when it was killed, else 0.
    """

    def __init__(self, process: subprocess.Popen[str], address: str, hung_s: float) -> None:
        self._process, self._address, self._deadline_s = process, address, hung_s / QUESTIONS
        self._stopping = threading.Event()
        self.silent_s = 0.0
        threading.Thread(target=self._listen, name="slipway-heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Ask no longer; a question in flight is without consequence."""
        self._stopping.set()

    def _listen(self) -> None:
        unanswered, busy = 0, False
        while not self._stopping.wait(0 if unanswered else ASK_EVERY_S):
            begin, computed_s = time.monotonic(), _cpu_s(self._process.pid)
            if self._answers():
                unanswered, busy = 0, False
                continue
            unanswered += 1
            busy = busy or _cpu_s(self._process.pid) - computed_s > BUSY_SHARE * (time.monotonic() - begin)
            if unanswered >= (BUSY_QUESTIONS if busy else QUESTIONS) and not self._stopping.is_set():
                self.silent_s = unanswered * self._deadline_s
                self._process.kill()
                return

    def _answers(self) -> bool:
        """Whether there was anything but silence."""
        try:
            urllib.request.urlopen(f"http://{self._address}/healthz", timeout=self._deadline_s).close()
        except TimeoutError:
            return False
        except urllib.error.URLError as e:
            return not isinstance(e.reason, TimeoutError)
        except Exception:  # a broken answer is one, and so is a refused connection
            return True
        return True


def _cpu_s(pid: int) -> float:
    """What a process has computed; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
