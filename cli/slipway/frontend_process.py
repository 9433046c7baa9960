"""The frontend as a child process of ``slipway up``: started, watched, replaced when it dies or hangs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

from slipway import show
from slipway.child import start_child
from slipway.heartbeat import Heartbeat
from slipway_core.errors import CannotServe

READY_TIMEOUT_S = 30.0
DRAIN_S = 2.0
STOP_TIMEOUT_S = DRAIN_S + 1.0
HUNG_S = 15.0


def free_port(host: str, port: int) -> int:
    """``port`` if it can be bound, a free one for 0. Raises :class:`CannotServe` when it cannot."""
    from slipway_serving import ports

    problem = ports.problem_with(host, port)
    if problem:
        raise CannotServe(
            f"the frontend's port {port} {problem}",
            "stop what uses it, or choose another --frontend-port (0: a free one) or --host",
        )
    return port or ports.free_port(host)


class FrontendProcess:
    """The frontend; it dies with this process, also when that is killed.

    ``address`` is its ``host:port`` for clients on this machine. One that answers nothing for ``hung_s`` seconds is
    killed.
    """

    def __init__(self, host: str, port: int, triton_grpc: str, hung_s: float = HUNG_S) -> None:
        from slipway_serving import ports

        self.address = ports.address(host, port)
        self._environment = os.environ | {
            "SLIPWAY_HOST": host,
            "SLIPWAY_HTTP_PORT": str(port),
            "SLIPWAY_TRITON_GRPC": triton_grpc,
            "SLIPWAY_DRAIN_S": f"{DRAIN_S:g}",
        }
        self.restarts = 0
        self._hung_s = hung_s
        self._start()

    def _start(self) -> None:
        # Not the terminal's group: Ctrl-C reaches `slipway up` alone, which stops things in order.
        command = [sys.executable, "-m", "slipway_frontend"]
        self._process = start_child(command, environment=self._environment, own_group=True)
        self._heartbeat = Heartbeat(self._process, self.address, self._hung_s)

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
        """Start it again if it has died or was killed because it hung; a no-op while it lives."""
        if self._process.poll() is None:
            return
        self.restarts += 1
        self._heartbeat.stop()
        died = f"died (exit code {self._process.returncode})"
        if self._heartbeat.silent_s:
            died = f"did not answer for {self._heartbeat.silent_s:g} s and was killed"
        show.note(f"the frontend {died}; started again ({self.restarts})")
        self._start()

    def stop(self) -> None:
        """Let requests in flight finish, then end it; killed when it takes longer than a few seconds."""
        self._heartbeat.stop()
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
