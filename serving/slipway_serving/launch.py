"""How a Triton is started: a command line, an environment, and the addresses it answers at."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway_serving.installation import Docker, Embedded, Installation, OnPath
from slipway_serving.runtime_folder import RuntimeFolder

LOAD_THREADS = 4


@dataclass(frozen=True)
class Ports:
    """Where Triton listens."""

    host: str
    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class Launch:
    """What to run. ``cleanup`` ends what killing the command would leave running."""

    command: list[str]
    environment: dict[str, str]
    folder: RuntimeFolder
    cleanup: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Settings:
    """What the command line says about the server. ``auto_complete``: some model's config lacks inputs or outputs."""

    repository: Path
    ports: Ports
    drain_s: float
    auto_complete: bool
    gpu: bool
    cores: int


def launch_of(
    installation: Installation, settings: Settings, folder: RuntimeFolder, environment: Mapping[str, str]
) -> Launch:
    """The way to start one of the Tritons; ``environment`` is the caller's."""
    if isinstance(installation, Docker):
        return _in_docker(installation, settings, folder, environment)
    ports = settings.ports
    arguments = [
        f"--model-repository={folder.repository_for(settings.repository)}",
        f"--http-address={ports.host}",
        f"--http-port={ports.http}",
        f"--grpc-address={ports.host}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={ports.host}",
        f"--metrics-port={ports.metrics}",
        *_common(settings),
        f"--backend-config=python,shm-region-prefix-name={folder.name}",
    ]
    if isinstance(installation, OnPath):
        backends = installation.binary.parent.parent / "backends"
        known = [f"--backend-directory={backends}"] if backends.is_dir() else []
        return Launch([str(installation.binary), *arguments, *known], dict(environment), folder)
    command = [
        str(installation.root / "bin" / "tritonserver"),
        *arguments,
        f"--backend-directory={folder.backends}",
        f"--cache-directory={installation.root / 'caches'}",
    ]
    return Launch(command, _embedded_environment(installation, environment), folder)


def _common(settings: Settings) -> list[str]:
    arguments = [
        "--model-control-mode=explicit",
        "--strict-readiness=false",
        "--exit-on-error=false",
        f"--exit-timeout-secs={math.ceil(settings.drain_s)}",
        f"--model-load-thread-count={LOAD_THREADS}",
        # More threads than cores only make them wait for each other.
        f"--http-thread-count={max(2, min(8, settings.cores))}",
    ]
    if not settings.gpu:
        arguments.append("--allow-gpu-metrics=false")
    if not settings.auto_complete:
        # Saves each load of a Python-based model a worker that starts, answers and takes a second to stop.
        arguments.append("--disable-auto-complete-config")
    return arguments


def _embedded_environment(installation: Embedded, environment: Mapping[str, str]) -> dict[str, str]:
    """Libraries for the server; for its workers, which heed no other variable, the interpreter first on PATH."""
    libraries = [str(path) for path in installation.libraries]
    return {
        **environment,
        "LD_LIBRARY_PATH": _joined([*libraries, environment.get("LD_LIBRARY_PATH", "")]),
        "PATH": _joined([str(installation.interpreter), environment.get("PATH", os.defpath)]),
    }


def _joined(parts: list[str]) -> str:
    return os.pathsep.join(part for part in parts if part)


def _in_docker(
    installation: Docker, settings: Settings, folder: RuntimeFolder, environment: Mapping[str, str]
) -> Launch:
    """The image, with the repository mounted read-only and the ports published on the host's address alone."""
    ports, name = settings.ports, folder.name.removesuffix("-")
    host = f"[{ports.host}]" if ":" in ports.host else ports.host
    published = [f"--publish={host}:{out}:{inside}" for out, inside in _inside(ports)]
    command = [
        "docker",
        "run",
        "--rm",
        "--init",
        f"--name={name}",
        "--shm-size=1g",
        *published,
        f"--volume={settings.repository.resolve()}:/models:ro",
        *(["--gpus=all"] if installation.gpus else []),
        installation.image,
        "tritonserver",
        "--model-repository=/models",
        *_common(settings),
    ]
    return Launch(command, dict(environment), folder, cleanup=["docker", "kill", name])


def _inside(ports: Ports) -> tuple[tuple[int, int], ...]:
    return (ports.http, 8000), (ports.grpc, 8001), (ports.metrics, 8002)
