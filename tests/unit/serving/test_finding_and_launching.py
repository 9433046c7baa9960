"""Which Triton is taken, and the command lines that start each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway_core.errors import CannotServe, MissingExtra
from slipway_serving import ServeOptions
from slipway_serving.finding import first_that_works
from slipway_serving.installation import Docker, Embedded, Installation, OnPath
from slipway_serving.launch import Launch, Ports, Settings, launch_of
from slipway_serving.runtime_folder import RuntimeFolder

PATH_TRITON = OnPath(Path("/opt/tritonserver/bin/tritonserver"))
FOLDER = RuntimeFolder(Path("/tmp/slipway-1-ab"), "slipway-1-ab-")


def _absent(error: Exception) -> Installation:
    raise error


def test_auto_takes_the_first_that_works() -> None:
    finders = {
        "embedded": lambda: _absent(MissingExtra("serving", "nvidia-pytriton", "serve")),
        "path": lambda: PATH_TRITON,
        "docker": lambda: _absent(AssertionError("is not looked for any more")),
    }
    assert first_that_works(finders) is PATH_TRITON


def test_where_none_works_the_way_to_the_embedded_one_is_told() -> None:
    finders = {
        "embedded": lambda: _absent(MissingExtra("serving", "nvidia-pytriton", "serve")),
        "path": lambda: _absent(CannotServe("there is no tritonserver on PATH", "install one")),
    }
    with pytest.raises(MissingExtra) as refused:
        first_that_works(finders)
    assert str(refused.value) == 'serving needs nvidia-pytriton: pip install "slipway[serve]"'


def _launch(installation: Installation, repository: Path, *, auto_complete: bool = False, gpu: bool = False) -> Launch:
    ports = Ports("127.0.0.1", 8000, 8001, 8002)
    settings = Settings(repository, ports, drain_s=9.5, auto_complete=auto_complete, gpu=gpu, cores=4)
    return launch_of(installation, settings, FOLDER, {"PATH": "/usr/bin", "HOME": "/home/me"})


def test_the_embedded_triton_finds_its_libraries_and_its_workers_this_environment(tmp_path: Path) -> None:
    wheel = Path("/env/lib/site-packages")
    embedded = Embedded(
        root=wheel / "pytriton/tritonserver",
        stub=wheel / "pytriton/tritonserver/python_backend_stubs/3.11",
        libraries=(wheel / "nvidia_pytriton.libs", Path("/python/lib")),
        interpreter=Path("/env/bin"),
        version="0.7.0",
    )
    launch = _launch(embedded, tmp_path)
    assert launch.command == [
        "/env/lib/site-packages/pytriton/tritonserver/bin/tritonserver",
        f"--model-repository={tmp_path}",
        "--http-address=127.0.0.1",
        "--http-port=8000",
        "--grpc-address=127.0.0.1",
        "--grpc-port=8001",
        "--metrics-address=127.0.0.1",
        "--metrics-port=8002",
        "--model-control-mode=explicit",
        "--strict-readiness=false",
        "--exit-on-error=false",
        "--exit-timeout-secs=10",
        "--model-load-thread-count=4",
        "--http-thread-count=4",
        "--allow-gpu-metrics=false",
        "--disable-auto-complete-config",
        "--backend-config=python,shm-region-prefix-name=slipway-1-ab-",
        "--backend-directory=/tmp/slipway-1-ab/backends",
        "--cache-directory=/env/lib/site-packages/pytriton/tritonserver/caches",
    ]
    assert launch.environment == {
        "LD_LIBRARY_PATH": "/env/lib/site-packages/nvidia_pytriton.libs:/python/lib",
        "PATH": "/env/bin:/usr/bin",
        "HOME": "/home/me",
    }


def test_a_config_to_complete_and_a_gpu_change_the_command_line(tmp_path: Path) -> None:
    command = _launch(PATH_TRITON, tmp_path, auto_complete=True, gpu=True).command
    assert "--disable-auto-complete-config" not in command
    assert "--allow-gpu-metrics=false" not in command


def test_docker_gets_the_repository_read_only_ports_on_loopback_and_a_name_to_kill_it_by(tmp_path: Path) -> None:
    launch = _launch(Docker("nvcr.io/nvidia/tritonserver:24.10-py3", gpus=True), tmp_path, gpu=True)
    assert launch.command == [
        "docker",
        "run",
        "--rm",
        "--init",
        "--name=slipway-1-ab",
        "--shm-size=1g",
        "--publish=127.0.0.1:8000:8000",
        "--publish=127.0.0.1:8001:8001",
        "--publish=127.0.0.1:8002:8002",
        f"--volume={tmp_path}:/models:ro",
        "--gpus=all",
        "nvcr.io/nvidia/tritonserver:24.10-py3",
        "tritonserver",
        "--model-repository=/models",
        "--model-control-mode=explicit",
        "--strict-readiness=false",
        "--exit-on-error=false",
        "--exit-timeout-secs=10",
        "--model-load-thread-count=4",
        "--http-thread-count=4",
        "--disable-auto-complete-config",
    ]
    assert launch.cleanup == ["docker", "kill", "slipway-1-ab"]
    assert "--gpus=all" not in _launch(Docker("image"), tmp_path).command


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"grpc_port": 8000}, "HTTP, gRPC and metrics need three different ports; 0 takes a free one"),
        ({"http_port": 70000}, "there is no port 70000; a port is a number from 0 to 65535"),
        ({"drain_s": -1}, "a time to wait must not be negative; give seconds"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(CannotServe) as refused:
        ServeOptions(repository=tmp_path, **wrong)  # type: ignore[arg-type]
    assert str(refused.value) == message
