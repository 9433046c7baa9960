"""Every room but serving runs with numpy 2; serving says that it cannot."""

from __future__ import annotations

import pytest

from support.environments import ROOT, Environment, new_environment

ROOMS = ("core", "client", "frontend", "export")


@pytest.fixture(scope="module")
def numpy_2(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = new_environment(tmp_path_factory.mktemp("numpy2") / "env")
    environment.install(
        f"slipway[frontend,export,catboost,lightgbm,torchvision,xgboost,train] @ {ROOT.as_uri()}",
        "numpy>=2,<2.5",
        "torch==2.13.0",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "hypothesis",
        "httpx",
        pinned=False,
    )
    return environment


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_unit_tests_pass_with_numpy_2(room: str, numpy_2: Environment) -> None:
    tests = str(ROOT / "tests" / "unit" / room)
    # CatBoost's tests start a process for each file they read, and would double the time for nothing of numpy's.
    without = f"--ignore={tests}/test_catboost_source.py"
    done = numpy_2.run(
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), without, tests),
        timeout_s=380,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    version = numpy_2.run("python", "-c", "import numpy; print(numpy.__version__)")
    assert version.stdout.startswith("2.")
