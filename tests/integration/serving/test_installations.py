"""Tritons that are not the wheel's: one on PATH, one in Docker."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slipway_core.errors import CannotServe
from slipway_serving.facts import find_embedded
from slipway_serving.runtime_folder import make_runtime_folder
from support.triton import ask, descendants, guardian_of, publish_doubler, start_triton, wait_until, workers

ONE = {"x": np.ones((1, 2), np.float32)}


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program of the test's own before all others on PATH."""
    folder = tmp_path / "installed" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_a_tritonserver_on_path_is_run_with_its_own_backends(
    path_with: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Another installation, made from the wheel's files: a program in bin, backends beside it."""
    embedded = find_embedded()
    laid_out = make_runtime_folder(embedded)
    shutil.copytree(laid_out.backends, tmp_path / "installed" / "backends")
    laid_out.remove()
    libraries = ":".join(map(str, embedded.libraries))
    path_with(
        "tritonserver",
        f"export LD_LIBRARY_PATH={libraries} PATH={embedded.interpreter}:$PATH\n"
        f'exec {embedded.root}/bin/tritonserver "$@"',
    )
    repository = tmp_path / "repository"
    publish_doubler(repository)
    with start_triton(repository, server="path") as triton:
        assert ask(triton, "doubler", ONE)["y"].tolist() == [[2, 2]]
        (worker,) = workers(triton.server, "doubler")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: triton.server.restarts == {"doubler": 1}, 20, "nobody noticed the dead worker")
        assert ask(triton, "doubler", ONE)["y"].tolist() == [[2, 2]]


def test_a_server_that_does_not_heed_is_not_given_the_time_to_drain(
    path_with: Callable[[str, str], None], tmp_path: Path
) -> None:
    """A shell between slipway and Triton keeps the signal to itself, as a deadlocked Triton would."""
    embedded = find_embedded()
    laid_out = make_runtime_folder(embedded)
    libraries = ":".join(map(str, embedded.libraries))
    path_with(
        "tritonserver",
        f"trap '' TERM\nexport LD_LIBRARY_PATH={libraries} PATH={embedded.interpreter}:$PATH\n"
        f'{embedded.root}/bin/tritonserver "$@" --backend-directory={laid_out.backends}; echo ended',
    )
    publish_doubler(tmp_path / "repository")
    with start_triton(tmp_path / "repository", server="path", drain_s=3600.0) as triton:
        family = descendants(guardian_of(triton.server.pid))
        stopping = threading.Thread(target=triton.server.stop, daemon=True)
        stopping.start()
        stopping.join(60)
        assert not stopping.is_alive(), "it waits for requests in flight of a server that hangs"
    laid_out.remove()
    assert len(family) >= 3, "shell, Triton, worker"
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]


def test_docker_without_its_daemon_is_one_clear_line(path_with: Callable[[str, str], None], tmp_path: Path) -> None:
    publish_doubler(tmp_path / "repository")
    path_with("docker", 'echo "Cannot connect to the Docker daemon. Is it running?" >&2; exit 1')
    with pytest.raises(CannotServe) as refused, start_triton(tmp_path / "repository", server="docker"):
        pass
    assert str(refused.value) == (
        "docker is installed, but its daemon does not answer (Cannot connect to the Docker daemon. Is it running?); "
        "start it (systemctl start docker), or serve with --server embedded"
    )


def test_a_container_that_cannot_run_is_told_with_what_docker_said(
    path_with: Callable[[str, str], None], tmp_path: Path
) -> None:
    publish_doubler(tmp_path / "repository")
    path_with("docker", '[ "$1" = version ] && exit 0; echo "docker: no such image $*" >&2; exit 125')
    with pytest.raises(CannotServe) as refused, start_triton(tmp_path / "repository", server="docker"):
        pass
    assert str(refused.value).startswith("Triton ended with exit code 125 while it started: docker: no such image run")
