"""The frontend as a child process of ``slipway up``: started, watched, replaced when it dies, and stopped."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from slipway import show
from slipway.child import start_child
from slipway_core.errors import CannotServe

READY_TIMEOUT_S = 30.0
DRAIN_S = 2.0
STOP_TIMEOUT_S = DRAIN_S + 1.0


def free_port(host: str, port: int) -> int:
    """``port`` if it can be bound, a free one for 0. Raises :class:`CannotServe` when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            raise CannotServe(
                f"the frontend cannot bind {host}:{port} ({e.strerror})",
                "stop what uses the port, or choose another one with --frontend-port",
            ) from None
        return int(probe.getsockname()[1])


class FrontendProcess:
    """The frontend under its address; it dies with this process, also when that is killed."""

    def __init__(self, host: str, port: int, triton_grpc: str) -> None:
        self.address = f"{host}:{port}"
        self._environment = os.environ | {
            "SLIPWAY_HOST": host,
            "SLIPWAY_HTTP_PORT": str(port),
            "SLIPWAY_TRITON_GRPC": triton_grpc,
            "SLIPWAY_DRAIN_S": f"{DRAIN_S:g}",
        }
        self.restarts = 0
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        # Not the terminal's group: Ctrl-C reaches `slipway up` alone, which stops things in order.
        return start_child([sys.executable, "-m", "slipway_frontend"], environment=self._environment, own_group=True)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Return once ``/readyz`` answers 200. Raises :class:`CannotServe` when it does not in time."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise CannotServe(
                    f"the frontend ended with exit code {self._process.returncode}", "see its lines above"
                )
            with (
                contextlib.suppress(OSError, urllib.error.HTTPError),
                urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5),
            ):
                return
            time.sleep(0.03)
        raise CannotServe(f"the frontend was not ready within {READY_TIMEOUT_S:g} s", "see its lines above")

    def revive(self) -> None:
        """Start it again if it has died; a no-op while it lives."""
        if self._process.poll() is None:
            return
        self.restarts += 1
        show.note(f"the frontend died (exit code {self._process.returncode}); started again ({self.restarts})")
        self._process = self._started()

    def stop(self) -> None:
        """Let requests in flight finish, then end it; killed when it takes longer than a few seconds."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
