"""The small process between slipway and a Triton: it sees to it that nothing outlives them.

Run as a script, with the standard library alone, so that it costs little time and memory:

    python -I -S _guardian.py --prefix P --folder F --grace-s S [--cleanup C] -- COMMAND...

It starts COMMAND, says ``started <pid>`` on stdout, and ``ended <status>`` (as ``subprocess`` gives it) when the
command and every process below it are gone and their shared memory (``/dev/shm/P*``) and the folder F are removed.
It ends the command on ``stop`` (SIGTERM, which also wakes what was stopped) or ``kill`` (SIGKILL) from stdin, and by
itself, SIGTERM first and SIGKILL after the grace, when stdin closes or its parent dies. If it is killed itself, the
kernel kills the command.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  where Triton's python backend puts it
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_STDIN, _STDOUT, _STDERR = 0, 1, 2


@dataclass(frozen=True)
class Charge:
    """What the guardian answers for. ``cleanup`` is a command to run when the charge had to be killed."""

    command: list[str]
    prefix: str
    folder: Path
    grace_s: float
    cleanup: list[str] = field(default_factory=list[str])


def remove_traces(prefix: str, folder: Path) -> None:
    """Unlink a server's shared memory and remove its runtime folder, as far as they are there and ours."""
    if prefix:
        for file in SHARED_MEMORY.glob(f"{prefix}*"):
            with suppress(OSError):
                file.unlink()
    shutil.rmtree(folder, ignore_errors=True)


class Guardian:
    """Starts the charge, waits, ends it, cleans up."""

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._parent = os.getppid()
        self._child = 0
        self._status: int | None = None
        self._kill_at = float("inf")

    def run(self) -> None:
        """Returns when nothing of the charge is left."""
        self._wakeup = _signals_to_a_pipe()
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._child = _spawn(self._charge.command, libc)
        _say(f"started {self._child}")
        self._watch()
        self._kill_the_rest()
        remove_traces(self._charge.prefix, self._charge.folder)
        _say(f"ended {self._status}")

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(_STDIN, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        parent = _process_descriptor(self._parent)
        if parent is not None:
            poll.register(parent, select.POLLIN)
        while self._status is None:
            left_s = self._kill_at - time.monotonic()
            if left_s <= 0:
                self._kill()
            ready = poll.poll(None if left_s == float("inf") else max(left_s, 0.05) * 1000)
            for descriptor, _ in ready:
                if descriptor == self._wakeup:
                    self._heed_signals()
                elif descriptor == _STDIN and self._heed_orders():
                    continue
                else:  # the parent is gone
                    poll.unregister(descriptor)
                    self._stop()
            self._reap()

    def _heed_orders(self) -> bool:
        """Whether the parent is still there."""
        orders = os.read(_STDIN, 4096).split()
        if b"kill" in orders:
            self._kill()
        elif b"stop" in orders:
            # The parent decides when patience ends; it sees from the log how far Triton is.
            self._terminate()
        return bool(orders)

    def _heed_signals(self) -> None:
        if signal.SIGTERM in os.read(self._wakeup, 4096):
            self._stop()

    def _stop(self) -> None:
        """SIGTERM now, SIGKILL after the grace."""
        if self._kill_at == float("inf"):
            self._kill_at = time.monotonic() + self._charge.grace_s
            self._terminate()

    def _terminate(self) -> None:
        if self._status is None:
            os.kill(self._child, signal.SIGTERM)
            for pid in (self._child, *_descendants(self._child)):
                with suppress(OSError):
                    os.kill(pid, signal.SIGCONT)  # a stopped process would never hear of it

    def _kill(self) -> None:
        self._kill_at = float("inf")
        if self._status is None:
            os.kill(self._child, signal.SIGKILL)
        if self._charge.cleanup:
            subprocess.run(self._charge.cleanup, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20)

    def _reap(self) -> None:
        """Collect what has ended: the charge, and orphans that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._status = os.waitstatus_to_exitcode(status)

    def _kill_the_rest(self) -> None:
        """Whatever the charge started is our child now; their children become ours in turn."""
        while True:
            for pid in _children(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def _spawn(command: list[str], libc: ctypes.CDLL) -> int:
    """Start the command; its stdout and stderr are our stderr. It dies when we die."""
    me = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != me:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), _STDIN)
        os.dup2(_STDERR, _STDOUT)
        os.execvp(command[0], command)  # noqa: S606
    except OSError as e:
        os.write(_STDERR, f"{command[0]} cannot be started: {e.strerror}\n".encode())
    finally:
        os._exit(127)


def _signals_to_a_pipe() -> int:
    """Make SIGCHLD and SIGTERM readable; ignore what belongs to a terminal or a broken pipe."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _heard)
    return reading


def _heard(number: int, frame: object) -> None:
    """The number is in the pipe already; without a handler Python would not write it there."""


def _process_descriptor(pid: int) -> int | None:
    """Readable when the process ends; None where the kernel has no such thing (stdin closes all the same)."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _children(parent: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def _say(text: str) -> None:
    try:
        os.write(_STDOUT, f"{text}\n".encode())
    except OSError:  # nobody listens any more
        return


def _charge(arguments: list[str]) -> Charge:
    at = arguments.index("--")
    options = dict(zip(arguments[:at:2], arguments[1:at:2], strict=True))
    return Charge(
        command=arguments[at + 1 :],
        prefix=options["--prefix"],
        folder=Path(options["--folder"]),
        grace_s=float(options["--grace-s"]),
        cleanup=options.get("--cleanup", "").split(),
    )


if __name__ == "__main__":
    Guardian(_charge(sys.argv[1:])).run()
