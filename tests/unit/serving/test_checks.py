"""Every reason for which a machine is refused, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_core.errors import CannotServe
from slipway_serving import checks
from slipway_serving.checks import MIB, Check


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            checks.check_system("Darwin", "arm64"),
            "the embedded Triton runs on Linux only, this is Darwin on arm64; use --server docker",
        ),
        (
            checks.check_python((3, 13, 1)),
            "Python 3.13.1 cannot run the embedded Triton, which needs 3.11 or 3.12 (numpy 1 exists for no later one); "
            "make the environment with Python 3.12, or serve with --server docker",
        ),
        (
            checks.check_glibc((2, 31)),
            "glibc 2.31 is too old for the embedded Triton, which needs 2.35 or later; "
            "use Debian 12, Ubuntu 22.04 or later, or serve with --server docker",
        ),
        (
            checks.check_glibc(None),
            "this system has no glibc, which is needed for the embedded Triton, which needs 2.35 or later; "
            "use Debian 12, Ubuntu 22.04 or later, or serve with --server docker",
        ),
        (
            checks.check_libpython((3, 12, 3), "libpython3.12.so.1.0", None),
            "this Python has no shared library (libpython3.12.so.1.0), which Triton's workers need; "
            "install it (Debian, Ubuntu: apt-get install libpython3.12) or use a Python built with --enable-shared "
            "(uv python install 3.12)",
        ),
        (
            checks.check_numpy("2.1.3"),
            "numpy 2.1.3 is installed, and with numpy 2 the embedded Triton answers with empty tensors; "
            'pip install "numpy<2"',
        ),
        (checks.check_numpy(None), 'numpy is not installed; pip install "numpy<2"'),
        (
            checks.check_interpreter(Path("/opt/app"), has_python3=False),
            "/opt/app has no python3, by which Triton's workers find the installed packages; "
            "make a virtual environment and install slipway there",
        ),
        (checks.check_bash(None), "there is no bash on PATH, through which Triton starts its workers; install bash"),
        (
            checks.check_runtime_folder(Path("/tmp"), 99 * MIB, executable=False, safe=True),
            "/tmp is mounted noexec, and Triton's workers start there; set TMPDIR to another folder",
        ),
        (
            checks.check_runtime_folder(Path("/tmp"), 3 * MIB, executable=True, safe=True),
            "/tmp has 3 MiB free, Triton's runtime folder needs 8 MiB; set TMPDIR to another folder",
        ),
        (
            checks.check_runtime_folder(Path("/my tmp"), 99 * MIB, executable=True, safe=False),
            "Triton cannot start workers from '/my tmp'; set TMPDIR to another folder",
        ),
        (
            checks.check_shared_memory(4 * MIB, 3),
            "/dev/shm has 4 MiB free, 3 workers need 11 MiB; "
            "remove what is left over there, or give the container more (docker run --shm-size=256m)",
        ),
        (
            checks.check_shared_memory(0, 1),
            "/dev/shm has 0 MiB free, 1 worker needs 9 MiB; "
            "remove what is left over there, or give the container more (docker run --shm-size=256m)",
        ),
        (
            checks.check_shared_memory(None, 1),
            "there is no /dev/shm, through which Triton talks to its workers; mount a tmpfs there",
        ),
        (
            checks.check_port("gRPC", 8001, "--grpc-port", "is in use by redis (pid 7)"),
            "port 8001 (gRPC) is in use by redis (pid 7); choose another one with --grpc-port; 0 takes a free one",
        ),
        (
            checks.check_disk(Path("/data"), 100 * MIB),
            "100 MiB free in /data; free at least 1 GiB: models are written there",
        ),
    ],
)
def test_what_is_wrong_is_one_line_with_its_remedy(check: Check, message: str) -> None:
    with pytest.raises(CannotServe) as refused:
        check.require()
    assert str(refused.value) == message
    assert check.remedy


@pytest.mark.parametrize(
    "check",
    [
        checks.check_system("Linux", "x86_64"),
        checks.check_python((3, 11, 0)),
        checks.check_python((3, 12, 9)),
        checks.check_glibc((2, 35)),
        checks.check_libpython((3, 11, 7), "libpython3.11.so.1.0", Path("/usr/lib/libpython3.11.so.1.0")),
        checks.check_numpy("1.26.4"),
        checks.check_shared_memory(11 * MIB, 3),
        checks.check_port("HTTP", 8000, "--http-port", ""),
        checks.check_gpu(["NVIDIA L4, 550.54, 23034 MiB"]),
        checks.check_docker("/usr/bin/docker", ""),
    ],
)
def test_what_is_well_lets_the_start_go_on(check: Check) -> None:
    check.require()
    assert check.ok is True
    assert check.found


def test_what_is_optional_is_never_a_fault() -> None:
    for check in (
        checks.check_gpu(None),
        checks.check_docker(None, ""),
        checks.check_docker("/usr/bin/docker", "Cannot connect to the Docker daemon"),
    ):
        check.require()
        assert check.ok is None
    assert "its daemon does not answer (Cannot connect to the Docker daemon)" in check.found
