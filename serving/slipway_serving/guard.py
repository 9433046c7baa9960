"""A Triton under its guardian, seen from slipway: start, log, end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from slipway_core.errors import CannotServe
from slipway_serving import _guardian
from slipway_serving.launch import Launch
from slipway_serving.workers import kill_processes_of

ORPHAN_GRACE_S = 3.0
GUARDIAN_KILLED = -9


class GuardedTriton:
    """A started Triton. Whatever happens to this process, the guardian ends Triton and removes its traces.

    ``pid`` is Triton's own, ``ended`` is set when nothing of it is left; then ``status`` is its exit code, negative
    for a signal. ``on_line`` gets each line of its log, in a thread.
    """

    def __init__(self, launch: Launch, on_line: Callable[[str], None]) -> None:
        self._launch = launch
        self._orders = threading.Lock()
        self.ended = threading.Event()
        self.status: int | None = None
        self._process = _start(launch)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=_read, args=(self._process.stderr, on_line), daemon=True)
        self._reader.start()
        self.pid = self._started(self._process.stdout.readline())
        threading.Thread(target=self._await_end, args=(self._process.stdout,), daemon=True).start()

    def stop(self) -> None:
        """Ask Triton to finish what is in flight and end; returns at once."""
        self._order(b"stop\n")

    def kill(self) -> None:
        """End Triton now; returns at once."""
        self._order(b"kill\n")

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether Triton and its traces are gone, after at most ``timeout_s`` seconds."""
        return self.ended.wait(timeout_s)

    def _order(self, order: bytes) -> None:
        assert self._process.stdin is not None
        with self._orders:
            try:
                self._process.send_signal(signal.SIGCONT)  # a guardian that somebody has stopped must hear it too
                self._process.stdin.write(order)
                self._process.stdin.flush()
            except (OSError, ValueError):  # the guardian has ended, or is gone
                return

    def _started(self, said: bytes) -> int:
        words = said.split()
        if len(words) != 2 or words[0] != b"started":
            self._process.kill()
            self._launch.folder.remove()
            raise CannotServe("Triton's guardian did not start", "look at the limits on memory and processes")
        return int(words[1])

    def _await_end(self, sayings: IO[bytes]) -> None:
        said = next((line for line in sayings if line.startswith(b"ended ")), b"")
        if not said:  # somebody killed the guardian, and the kernel Triton with it
            kill_processes_of(self._launch.folder.name)
            self._launch.folder.remove()
        self.status = int(said.split()[1]) if said else GUARDIAN_KILLED
        self._process.wait()
        self._reader.join(timeout=1)
        assert self._process.stdin is not None
        with self._orders:
            self._process.stdin.close()
        self.ended.set()


def _start(launch: Launch) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", str(Path(_guardian.__file__))]
    command += ["--prefix", launch.folder.name, "--folder", str(launch.folder.path), "--grace-s", str(ORPHAN_GRACE_S)]
    command += ["--cleanup", " ".join(launch.cleanup), "--", *launch.command]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=launch.folder.work,
            env=launch.environment,
            start_new_session=True,  # Ctrl-C is for slipway, which then drains
        )
    except OSError as e:
        launch.folder.remove()
        raise CannotServe(
            f"a process cannot be started ({e.strerror})", "look at the limits on memory and processes"
        ) from None


def _read(stream: IO[bytes], on_line: Callable[[str], None]) -> None:
    for line in stream:
        on_line(line.decode(errors="replace").rstrip("\n"))
