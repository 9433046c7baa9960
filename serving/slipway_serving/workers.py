"""The processes in which Triton runs Python-based models, read from /proc."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STUB = "triton_python_backend_stub"
RESCAN_S = 1.0
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
    """A process below Triton. ``status`` is the exit code of one that has ended and was not collected, else None.

    ``stopped`` is one that a signal has stopped; a debugger's is not.
    """

    pid: int
    born: int
    status: int | None
    stopped: bool = False


class Family:
    """The processes that ``pid`` started and has not collected, told again and again at little cost.

    Each look reads those known so far. New ones are looked for, in the lists of Triton's several hundred threads,
    when the number of threads has changed, as every load changes it, and each ``RESCAN_S`` seconds.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._known: list[int] = []
        self._threads, self._rescan_at = 0, 0.0

    def members(self, now: float) -> list[Child]:
        """As they are at this moment."""
        threads = _thread_count(self._pid)
        if threads != self._threads or now >= self._rescan_at:
            self._known = _children(self._pid)
            self._threads, self._rescan_at = threads, now + RESCAN_S
        return _states(self._known)


def children_of(pid: int) -> list[Child]:
    """The processes that ``pid`` started and has not collected; none when it is gone."""
    return _states(_children(pid))


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
    tasks = f"{_PROC}/{pid}/task"
    try:
        lists = [f"{tasks}/{thread}/children" for thread in os.listdir(tasks)]  # noqa: PTH208
    except OSError:
        return []
    if lists and not Path(lists[0]).exists():
        processes = [entry.name for entry in _PROC.iterdir() if entry.name.isdecimal()]
        return [int(name) for name in processes if _parent(name) == pid]
    found: list[int] = []
    for children in lists:
        with suppress(OSError):  # the thread has just ended
            found += map(int, _read(children).split())
    return found


def _thread_count(pid: int) -> int:
    """Or at least a number that changes with it: the links of a directory count its subdirectories."""
    try:
        return (_PROC / str(pid) / "task").stat().st_nlink
    except OSError:
        return 0


def _states(pids: list[int]) -> list[Child]:
    return [state for pid in pids if (state := _state(pid)) is not None]


def _state(pid: int) -> Child | None:
    fields = _fields(str(pid))
    if fields is None:
        return None
    status = os.waitstatus_to_exitcode(int(fields[-1])) if fields[0] == "Z" else None
    return Child(pid, int(fields[19]), status, stopped=fields[0] == "T")


def _parent(name: str) -> int:
    fields = _fields(name)
    return int(fields[1]) if fields else 0


def _fields(name: str) -> list[str] | None:
    """/proc/<pid>/stat from the third field on: the state."""
    try:
        return _read(f"{_PROC}/{name}/stat").rpartition(b")")[2].decode().split()
    except OSError:
        return None


def _read(path: str) -> bytes:
    """A small file of /proc; read some hundred times a second, in a third of a `Path`'s time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
