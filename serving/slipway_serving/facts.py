"""Facts about this machine and this environment, gathered where they are; judged in ``checks``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from slipway_core.errors import MissingExtra
from slipway_serving import checks
from slipway_serving.checks import Check
from slipway_serving.installation import Embedded

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def find_embedded() -> Embedded:
    """The Triton inside the wheel ``nvidia-pytriton``. Raises :class:`MissingExtra`, or what a check refuses."""
    for module, name in (("pytriton", "nvidia-pytriton"), ("onnxruntime", "onnxruntime")):
        if importlib.util.find_spec(module) is None and _could_be_installed():
            raise MissingExtra("serving", name, "serve")
    for check in environment():
        check.require()
    libpython = _libpython()
    package = _package("pytriton")
    assert libpython is not None, "checked above"
    assert package is not None, "checked above"
    return Embedded(
        root=package / "tritonserver",
        stub=package / "tritonserver" / "python_backend_stubs" / f"{sys.version_info[0]}.{sys.version_info[1]}",
        libraries=(package.parent / "nvidia_pytriton.libs", libpython.parent),
        interpreter=Path(sys.executable).parent,
        version=importlib.metadata.version("nvidia-pytriton"),
    )


def environment() -> list[Check]:
    """What the embedded Triton needs of Python and the system."""
    python = sys.version_info[:3]
    interpreter = Path(sys.executable).parent
    return [
        checks.check_system(platform.system(), platform.machine()),
        checks.check_python(python),
        checks.check_glibc(_glibc()),
        checks.check_libpython(python, _libpython_name(), _libpython()),
        checks.check_numpy(_version("numpy")),
        checks.check_interpreter(interpreter, (interpreter / "python3").exists()),
        checks.check_bash(shutil.which("bash")),
    ]


def _could_be_installed() -> bool:
    """Whether the extra would help: elsewhere it installs no Triton, and the reason is the message."""
    return bool(
        checks.check_system(platform.system(), platform.machine()).ok and checks.check_python(sys.version_info[:3]).ok
    )


def shared_memory(workers: int) -> Check:
    """Room in /dev/shm for so many workers."""
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    return checks.check_shared_memory(free, workers)


def runtime_folder() -> Check:
    """Whether the folder for temporary files can hold a backend directory."""
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as e:
        return Check("temporary folder", False, f"there is no folder for temporary files ({e.strerror})", "set TMPDIR")
    executable = not os.statvfs(folder).f_flag & os.ST_NOEXEC
    return checks.check_runtime_folder(
        folder, shutil.disk_usage(folder).free, executable, safe=shlex.quote(str(folder)) == str(folder)
    )


def gpu() -> Check:
    """The GPUs that the driver shows."""
    return checks.check_gpu(
        _said(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    )


def has_gpu() -> bool:
    """Whether the kernel shows an NVIDIA GPU, without waiting for its driver's tools."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def docker() -> Check:
    """Docker's client, and whether its daemon answers."""
    client = shutil.which("docker")
    return checks.check_docker(client, docker_problem() if client else "")


def docker_problem() -> str:
    """Why Docker's daemon does not answer; empty when it does."""
    try:
        done = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 5 s"
    except OSError as e:
        return e.strerror or "it cannot be started"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1].removesuffix(".")


def _said(command: Sequence[str]) -> list[str] | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return lines if done.returncode == 0 and lines else None


def _glibc() -> tuple[int, int] | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        major, minor = version.split(".")[:2]
        return (int(major), int(minor)) if name == "glibc" else None
    except (ValueError, OSError):
        return None


def _libpython_name() -> str:
    return f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0"


def _libpython() -> Path | None:
    """Where the interpreter's shared library lies; the loader's own folders included."""
    name = _libpython_name()
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    folders = [sysconfig.get_config_var("LIBDIR") or "", f"{sys.base_prefix}/lib"]
    folders += [f"{folder}/{multiarch}" for folder in folders] + ["/usr/lib", "/usr/lib64", f"/usr/lib/{multiarch}"]
    return next((Path(folder, name) for folder in folders if folder and Path(folder, name).is_file()), None)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None
