"""Resident memory of Triton with one iris and one digits instance, and what dominates it.

    python benchmarks/memory.py

PSS (each process's own pages plus its share of those it shares) per process, right after start and after 1,000
predictions of each model. Writes benchmarks/results/memory.json.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import psutil

from slipway_bench import Result, write_result
from slipway_client import Client
from slipway_core.layout import model_names
from slipway_serving import ServeOptions, start

ROOT = Path(__file__).parents[1]
WHAT = "Memory of Triton with one iris and one digits instance, and what dominates it"
REPOSITORY = ROOT / "model_repository"
PREDICTIONS = 1000


def main() -> int:
    """Measure, write the result file, print."""
    if not {"iris", "digits", "digits_net"} <= set(model_names(REPOSITORY)):
        raise SystemExit("memory: iris and digits are not published; run: slipway up")
    options = ServeOptions(repository=REPOSITORY, http_port=0, grpc_port=0, metrics_port=0, log=lambda _: None)
    with start(options) as triton:
        fresh = _memory_mib(triton.pid)
        with Client(triton.grpc_address) as client:
            _ask(client)
        used = _memory_mib(triton.pid)
    figures = {
        "after_start_pss_mib": fresh,
        f"after_{PREDICTIONS}_predictions_each_pss_mib": used,
        "total_after_start_pss_mib": round(sum(fresh.values()), 1),
        "total_after_predictions_pss_mib": round(sum(used.values()), 1),
        "dominated_by": max(used, key=lambda name: used[name]),
    }
    path = write_result(Result("memory", WHAT, figures), ROOT / "benchmarks" / "results")
    print(json.dumps(figures, indent=2), path, sep="\n")
    return 0


def _ask(client: Client) -> None:
    row = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    client.predict("iris", [row] * PREDICTIONS)
    images = np.zeros((64, 8, 8, 1), np.uint8)
    for _ in range(-(-PREDICTIONS // 64)):
        client.infer("digits_net", {"image": images})
    picture = ROOT / "artifacts" / "digits" / "sample.png"
    client.classify("digits", [picture] * PREDICTIONS)


def _memory_mib(pid: int) -> dict[str, float]:
    """PSS by process: Triton itself, and each worker under its model instance's name."""
    root = psutil.Process(pid)
    processes = [root, *root.children(recursive=True)]
    return {_name(process): round(process.memory_full_info().pss / 2**20, 1) for process in processes}


def _name(process: psutil.Process) -> str:
    command = process.cmdline()
    if "triton_python_backend_stub" in command[0]:
        instance = next((word for word in command if re.search(r"_\d+_\d+$", word) and "/" not in word), command[-1])
        return f"worker of {instance}"
    return Path(command[0]).name


if __name__ == "__main__":
    sys.exit(main())
