"""Whether this machine can run the embedded Triton: each check is a function of the facts handed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_core.errors import CannotServe

PYTHONS = ((3, 11), (3, 12))
GLIBC = (2, 35)
MIB = 2**20
SHARED_MEMORY = "/dev/shm"  # noqa: S108  where Triton's python backend puts it
SHARED_MEMORY_PER_WORKER = MIB  # Triton's default; it grows with the tensors
SHARED_MEMORY_RESERVE = 8 * MIB
_ELSEWHERE = "or serve with --server docker"


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``ok`` is None where it does not matter; unless it is False ``remedy`` may be empty."""

    name: str
    ok: bool | None
    found: str
    remedy: str = ""

    def require(self) -> None:
        """Raise :class:`CannotServe` when it is not well."""
        if self.ok is False:
            raise CannotServe(self.found, self.remedy)


def check_system(system: str, machine: str) -> Check:
    """The wheel holds Linux binaries for two processors."""
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        return Check("system", True, f"{system} on {machine}")
    return Check(
        "system", False, f"the embedded Triton runs on Linux only, this is {system} on {machine}", "use --server docker"
    )


def check_python(version: tuple[int, int, int]) -> Check:
    """The interpreter that Triton's workers run."""
    text = ".".join(map(str, version))
    if version[:2] in PYTHONS:
        return Check("Python", True, text)
    return Check(
        "Python",
        False,
        f"Python {text} cannot run the embedded Triton, which needs 3.11 or 3.12 (numpy 1 exists for no later one)",
        f"make the environment with Python 3.12, {_ELSEWHERE}",
    )


def check_glibc(version: tuple[int, int] | None) -> Check:
    """Triton's binaries are built against 2.35; None is a system without glibc, such as Alpine."""
    if version is not None and version >= GLIBC:
        return Check("glibc", True, ".".join(map(str, version)))
    found = f"glibc {version[0]}.{version[1]} is too old" if version else "this system has no glibc, which is needed"
    return Check(
        "glibc",
        False,
        f"{found} for the embedded Triton, which needs 2.35 or later",
        f"use Debian 12, Ubuntu 22.04 or later, {_ELSEWHERE}",
    )


def check_libpython(python: tuple[int, int, int], library: str, found: Path | None) -> Check:
    """Triton's workers embed the interpreter, so they need it as a shared library."""
    if found is not None:
        return Check("shared libpython", True, str(found))
    name = f"{python[0]}.{python[1]}"
    return Check(
        "shared libpython",
        False,
        f"this Python has no shared library ({library}), which Triton's workers need",
        f"install it (Debian, Ubuntu: apt-get install libpython{name}) or use a Python built with --enable-shared "
        f"(uv python install {name})",
    )


def check_numpy(version: str | None) -> Check:
    """Under numpy 2 the embedded Triton's python backend answers with empty tensors and no error."""
    if version is None:
        return Check("numpy", False, "numpy is not installed", 'pip install "numpy<2"')
    if int(version.split(".")[0]) < 2:
        return Check("numpy", True, version)
    return Check(
        "numpy",
        False,
        f"numpy {version} is installed, and with numpy 2 the embedded Triton answers with empty tensors",
        'pip install "numpy<2"',
    )


def check_interpreter(folder: Path, has_python3: bool) -> Check:
    """Triton's workers find this environment's packages through the python3 that is first on PATH."""
    if has_python3:
        return Check("python3", True, str(folder / "python3"))
    return Check(
        "python3",
        False,
        f"{folder} has no python3, by which Triton's workers find the installed packages",
        "make a virtual environment and install slipway there",
    )


def check_bash(path: str | None) -> Check:
    """Triton starts its workers through bash."""
    if path:
        return Check("bash", True, path)
    return Check("bash", False, "there is no bash on PATH, through which Triton starts its workers", "install bash")


def check_runtime_folder(folder: Path, free_bytes: int, executable: bool, safe: bool) -> Check:
    """Where the server's backend directory goes: 4 MiB that can be executed, under a path that bash leaves alone."""
    remedy = "set TMPDIR to another folder"
    if not safe:
        return Check("temporary folder", False, f"Triton cannot start workers from {str(folder)!r}", remedy)
    if not executable:
        return Check("temporary folder", False, f"{folder} is mounted noexec, and Triton's workers start there", remedy)
    if free_bytes < 8 * MIB:
        return Check(
            "temporary folder",
            False,
            f"{folder} has {_mib(free_bytes)} free, Triton's runtime folder needs 8 MiB",
            remedy,
        )
    return Check("temporary folder", True, str(folder))


def check_shared_memory(free_bytes: int | None, workers: int) -> Check:
    """Each worker of a Python-based model exchanges tensors with Triton through /dev/shm. None: there is none."""
    needed = workers * SHARED_MEMORY_PER_WORKER + SHARED_MEMORY_RESERVE
    name, workers_need = SHARED_MEMORY, f"{workers} workers need" if workers != 1 else "1 worker needs"
    if free_bytes is None:
        return Check(
            name, False, f"there is no {name}, through which Triton talks to its workers", "mount a tmpfs there"
        )
    if free_bytes >= needed:
        return Check(name, True, f"{_mib(free_bytes)} free")
    return Check(
        name,
        False,
        f"{name} has {_mib(free_bytes)} free, {workers_need} {_mib(needed)}",
        "remove what is left over there, or give the container more (docker run --shm-size=256m)",
    )


def check_port(label: str, port: int, option: str, problem: str) -> Check:
    """``problem`` says why the port cannot be had; empty when it can."""
    name = f"port {port} ({label})"
    if not problem:
        return Check(name, True, "free")
    return Check(name, False, f"{name} {problem}", f"choose another one with {option}; 0 takes a free one")


def check_disk(folder: Path, free_bytes: int) -> Check:
    """Room for models and artifacts."""
    if free_bytes >= 1024 * MIB:
        return Check("disk", True, f"{free_bytes / 2**30:.1f} GiB free in {folder}")
    return Check("disk", False, f"{_mib(free_bytes)} free in {folder}", "free at least 1 GiB: models are written there")


def check_gpu(lines: Sequence[str] | None) -> Check:
    """``lines`` are nvidia-smi's ``name, driver, memory``; None when it is missing or does not answer."""
    if lines:
        return Check("GPU", True, "; ".join(lines))
    return Check("GPU", None, "no NVIDIA GPU or driver; models run on the CPU")


def check_docker(client: str | None, problem: str) -> Check:
    """Docker is one of three ways to run a Triton, so its absence is no fault."""
    if client is None:
        return Check("Docker", None, "not installed")
    if problem:
        return Check(
            "Docker", None, f"docker is installed, but its daemon does not answer ({problem})", "systemctl start docker"
        )
    return Check("Docker", True, client)


def _mib(size: int) -> str:
    return f"{size // MIB} MiB"
