"""How long until Triton is ready, and until a second `slipway up` has answered.

    python benchmarks/startup.py [--runs 5]

Each run starts from a folder in which everything is trained and published, on free ports, and ends in a full stop.

Writes benchmarks/results/startup.json; exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from slipway_bench import Result, write_result

ROOT = Path(__file__).parents[1]
WHAT = "How long until Triton is ready, and until a second `slipway up` has answered"
SLIPWAY = str(Path(sys.executable).with_name("slipway"))
SERVE = [SLIPWAY, "serve", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
UP = [SLIPWAY, "up", "--frontend-port", "0", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]


def main() -> int:
    """Measure, write the result file, print."""
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    _seconds_until(UP, " answers: ")  # trains and publishes what is missing, and warms the file cache
    serve, up, stop = [], [], []
    for at in range(runs):
        print(f"  run {at + 1} of {runs}", file=sys.stderr, flush=True)
        serve.append(_seconds_until(SERVE, "Triton is ready")[0])
        ready, stopped = _seconds_until(UP, " answers: ")
        up.append(ready)
        stop.append(stopped)
    figures = {
        "serve_until_ready_s": {"median": statistics.median(serve), "runs": serve},
        "second_up_until_first_answer_s": {"median": statistics.median(up), "runs": up},
        "ctrl_c_until_stopped_s": {"median": statistics.median(stop), "runs": stop},
    }
    promises = {
        "Triton is ready from `slipway serve` within 5 s (median)": statistics.median(serve) <= 5,
        "a second `slipway up` answers its first prediction within 15 s (every run)": max(up) <= 15,
        "Ctrl-C stops everything within 5 s (every run)": max(stop) <= 5,
    }
    path = write_result(Result("startup", WHAT, figures, promises), ROOT / "benchmarks" / "results")
    print(json.dumps(figures, indent=2), *(f"{held}: {promise}" for promise, held in promises.items()), path, sep="\n")
    return 0 if all(promises.values()) else 1


def _seconds_until(command: list[str], said: str) -> tuple[float, float]:
    """Seconds from the start of a command until it says something, and from Ctrl-C until it has ended."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    ready = next((time.perf_counter() - begin for line in process.stdout if said in line), None)
    if ready is None:
        raise SystemExit(f"startup: {' '.join(command[1:])} ended without saying {said!r}")
    interrupted = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.wait(60)
    return round(ready, 3), round(time.perf_counter() - interrupted, 3)


if __name__ == "__main__":
    sys.exit(main())
