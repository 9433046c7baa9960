"""What importing a room pulls in, and what the lock file promises."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from slipway_export.sources.torchvision_models import imported
from support.environments import LOCK, ROOT

HEAVY = (
    "torch",
    "sklearn",
    "onnx",
    "onnxruntime",
    "skl2onnx",
    "pandas",
    "matplotlib",
    "PIL",
    "scipy",
    "xgboost",
    "lightgbm",
    "catboost",
    "torchvision",
)


@pytest.mark.parametrize("room", ["slipway_client", "slipway_frontend", "slipway_core", "slipway.command"])
def test_a_light_room_pulls_in_nothing_heavy(room: str) -> None:
    code = f"import sys, {room}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_core_needs_numpy_and_pydantic_alone() -> None:
    code = (
        "import sys, pkgutil, importlib, slipway_core\n"
        "for m in pkgutil.iter_modules(slipway_core.__path__): importlib.import_module('slipway_core.' + m.name)\n"
        "print(*sorted({'fastapi', 'grpc', 'google', 'typer', 'rich', 'tritonclient'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def _direct_dependencies() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for group in groups for requirement in group}
    return sorted(names - {"slipway"})


@pytest.mark.parametrize("distribution", _direct_dependencies())
def test_every_direct_dependency_can_be_imported(distribution: str) -> None:
    modules = [
        module
        for module, owners in packages_distributions().items()
        if distribution in {owner.lower().replace("_", "-") for owner in owners} and not module.startswith("_")
    ]
    importable = [module for module in modules if "." not in module and module.isidentifier()]
    assert importable, f"{distribution} is not installed"
    for module in importable:
        if module == "torchvision":  # beside a CPU build of torch its compiled part does not load
            assert imported().__name__ == "torchvision.models"
        else:
            importlib.import_module(module)


def test_the_lock_pins_exactly_and_names_no_address() -> None:
    lines = [line for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==[^ ]+( ;|$)", line) for line in lines)
    assert "://" not in LOCK.read_text()
    assert "tensorrt" not in LOCK.read_text(), "it cannot be installed without a GPU driver"
