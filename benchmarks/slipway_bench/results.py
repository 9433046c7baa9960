"""A benchmark's result file: no figure without the machine, the commit and the command that gave it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "onnxruntime", "nvidia-pytriton", "grpcio", "uvicorn", "torch")


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome. ``figures`` carries units in its keys; ``promises`` says which bound held."""

    benchmark: str
    what: str
    figures: dict[str, Any]
    promises: dict[str, bool] = field(default_factory=dict[str, bool])


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of pairwise ratios: what drifts over the run touches both members of a pair."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def machine() -> dict[str, Any]:
    """What ran it: processor, cores that this process may use, memory in GiB, kernel, Python, libraries."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _installed(name))},
    }


def write_result(result: Result, folder: Path) -> Path:
    """Write ``<folder>/<benchmark>.json`` by rename, and print the figures."""
    record = {
        **asdict(result),
        "machine": machine(),
        "commit": _commit(),
        "command": shlex.join([Path(sys.executable).name, *sys.argv]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.benchmark}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """The checkout's commit, with a plus sign when it has changes beside result files."""
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "-uno", "--", ".", ":!*/results/*.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
