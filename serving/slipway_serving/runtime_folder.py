"""The folder that one running Triton has for itself: its backend directory, and a name for its shared memory."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slipway_core.errors import CannotServe
from slipway_serving import facts
from slipway_serving._guardian import SHARED_MEMORY, remove_traces
from slipway_serving.installation import Embedded
from slipway_serving.workers import runs

PREFIX = "slipway"
STAND_INS = Path(__file__).parent / "backends"


@dataclass(frozen=True)
class RuntimeFolder:
    """``name`` begins the names of the folder and of the server's shared memory; no other server has it.

    ``work`` is Triton's working directory. It is empty, because Triton's workers import from it first.
    """

    path: Path
    name: str

    @property
    def backends(self) -> Path:
        return self.path / "backends"

    @property
    def work(self) -> Path:
        return self.path / "work"

    def repository_for(self, repository: Path) -> Path:
        """A path of the repository that bash takes as one word: Triton starts workers without quoting."""
        real = repository.resolve()
        if shlex.quote(str(real)) == str(real):
            return real
        link = self.path / "repository"
        if not link.is_symlink():
            link.symlink_to(real)
        return link

    def remove(self) -> None:
        """Remove the folder and the shared memory of the server that used it."""
        remove_traces(self.name, self.path)


def make_runtime_folder(installation: object) -> RuntimeFolder:
    """A new folder; for the embedded Triton with a complete backend directory.

    Removes what servers that were killed together with their guardian have left behind.
    Raises :class:`CannotServe` when the folder for temporary files has no room or allows no programs.
    """
    remove_leftovers()
    facts.runtime_folder().require()
    name = f"{PREFIX}-{_pid_namespace()}-{os.getpid()}-{secrets.token_hex(4)}-"
    folder = RuntimeFolder(Path(tempfile.gettempdir(), name.removesuffix("-")), name)
    try:
        folder.path.mkdir(mode=0o700)
        folder.work.mkdir()
        if isinstance(installation, Embedded):
            _lay_out(folder.backends, installation)
    except OSError as e:
        folder.remove()
        raise CannotServe(
            f"{folder.path} cannot be written ({e.strerror})", "free some room there, or set TMPDIR to another folder"
        ) from None
    return folder


def _lay_out(backends: Path, installation: Embedded) -> None:
    """Copies, not links: Triton refuses a library whose real path lies outside its backend directory."""
    python = backends / "python"
    shutil.copytree(installation.root / "backends" / "python", python, ignore=shutil.ignore_patterns("__pycache__"))
    stub = python / "triton_python_backend_stub"
    shutil.copyfile(installation.stub / stub.name, stub)
    stub.chmod(0o755)
    for stand_in in STAND_INS.iterdir():
        if stand_in.is_dir() and not stand_in.name.startswith("_"):
            shutil.copytree(stand_in, backends / stand_in.name, ignore=shutil.ignore_patterns("__pycache__"))


def remove_leftovers() -> None:
    """Remove folders and shared memory whose server has no living process any more.

    Only those of this process's PID namespace: another container's processes cannot be seen from here.
    """
    ours = re.compile(rf"{PREFIX}-{_pid_namespace()}-(\d+)-[0-9a-f]{{8}}(?=-|$)")
    found = [*Path(tempfile.gettempdir()).glob(f"{PREFIX}-*")]
    if SHARED_MEMORY.is_dir():
        found += SHARED_MEMORY.glob(f"{PREFIX}-*")
    names = {match[0]: int(match[1]) for path in found if (match := ours.match(path.name))}
    names = {name for name, maker in names.items() if not runs(maker)}  # it may be about to start its server
    alive = _command_lines() if names else []
    for name in names:
        if not any(name in line for line in alive):
            remove_traces(f"{name}-", Path(tempfile.gettempdir(), name))


def _command_lines() -> list[str]:
    lines: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                lines.append((process / "cmdline").read_bytes().decode(errors="replace"))
            except OSError:
                continue
    return lines


def _pid_namespace() -> str:
    """Its number, the same for all processes that see each other."""
    return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
