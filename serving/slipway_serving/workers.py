"""The processes in which Triton runs Python-based models, read from /proc."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STUB = "triton_python_backend_stub"
_PROC = Path("/proc")
_MODEL_FILE, _REGION, _INSTANCE = 1, 2, 8  # where Triton names them on a worker's command line


@dataclass(frozen=True)
class Worker:
    """One worker. ``born`` is the kernel's start time, in clock ticks; with the pid it names a process.

    ``region`` is the name of its shared memory.
    """

    pid: int
    born: int
    model: str
    version: str
    instance: str
    region: str


@dataclass(frozen=True)
class Child:
    """A process below Triton. ``status`` is the exit code of one that has ended and was not collected, else None."""

    pid: int
    born: int
    status: int | None


def children_of(pid: int) -> list[Child]:
    """The processes that ``pid`` started and has not collected; none when it is gone."""
    found: list[Child] = []
    for child in _children(pid):
        state = _state(child)
        if state is not None:
            found.append(state)
    return found


def worker_at(child: Child, repository: Path) -> Worker | None:
    """The worker that a process is; None for one that is none, or has ended."""
    try:
        words = (_PROC / str(child.pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    if len(words) <= _INSTANCE or Path(words[0]).name != STUB:
        return None
    try:
        model, version = Path(words[_MODEL_FILE]).relative_to(repository).parts[:2]
    except ValueError:  # of another repository, or of none
        return None
    return Worker(child.pid, child.born, model, version, words[_INSTANCE], words[_REGION])


def runs(pid: int) -> bool:
    """Whether there is such a process and it has not ended."""
    state = _state(pid)
    return state is not None and state.status is None


def kill_processes_of(name: str) -> None:
    """Kill every process of ours with a runtime folder's name on its command line, and nobody else's."""
    for process in _PROC.iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            with suppress(OSError):
                if name.encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


def in_words(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"was killed by signal {-status}"


def _children(pid: int) -> list[int]:
    """From the kernel's own lists, one per thread; where it keeps none, by asking each process for its parent."""
    tasks = _PROC / str(pid) / "task"
    try:
        lists = [task / "children" for task in tasks.iterdir()]
    except OSError:
        return []
    if lists and not lists[0].exists():
        processes = [entry.name for entry in _PROC.iterdir() if entry.name.isdecimal()]
        return [int(name) for name in processes if _parent(name) == pid]
    found: list[int] = []
    for children in lists:
        with suppress(OSError):  # the thread has just ended
            found += map(int, children.read_text().split())
    return found


def _state(pid: int) -> Child | None:
    fields = _fields(str(pid))
    if fields is None:
        return None
    status = os.waitstatus_to_exitcode(int(fields[-1])) if fields[0] == "Z" else None
    return Child(pid, int(fields[19]), status)


def _parent(name: str) -> int:
    fields = _fields(name)
    return int(fields[1]) if fields else 0


def _fields(name: str) -> list[str] | None:
    """/proc/<pid>/stat from the third field on: the state."""
    try:
        return (_PROC / name / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
