"""What ``slipway doctor`` looks at."""

from __future__ import annotations

import shutil
from pathlib import Path

from slipway_core.errors import CannotServe, MissingExtra
from slipway_serving import facts, ports
from slipway_serving.checks import Check, check_disk, check_port
from slipway_serving.finding import find_triton
from slipway_serving.options import ServeOptions

EXAMPLE_WORKERS = 3  # iris, and the two halves of digits
HOST = "127.0.0.1"
PORTS = (
    ("Triton HTTP", 8000, "--http-port"),
    ("Triton gRPC", 8001, "--grpc-port"),
    ("Triton metrics", 8002, "--metrics-port"),
    ("frontend HTTP", 8080, "--frontend-port"),
)


def check_machine() -> list[Check]:
    """Everything that serving needs of this machine, each with what was found and how to mend it. Changes nothing."""
    checks = [_triton(), *facts.environment(), facts.runtime_folder(), facts.shared_memory(EXAMPLE_WORKERS)]
    checks += [check_port(label, port, option, ports.problem_with(HOST, port)) for label, port, option in PORTS]
    checks += [facts.gpu(), facts.docker(), check_disk(Path.cwd(), shutil.disk_usage(Path.cwd()).free)]
    return checks


def _triton() -> Check:
    """Which Triton ``slipway serve`` would run."""
    try:
        return Check("Triton", True, str(find_triton(ServeOptions(repository=Path()))))
    except CannotServe as e:
        return Check("Triton", False, e.reason, e.remedy)
    except MissingExtra as e:
        return Check("Triton", False, f"{e.module} is not installed", f'pip install "slipway[{e.extra}]"')
