"""The frontend of ``slipway up``: one that hangs is noticed and replaced, one that is busy is not taken for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from slipway.frontend_process import FrontendProcess, free_port
from slipway.heartbeat import Heartbeat
from support.client import in_process_triton
from support.frontend import fake_triton
from support.triton import alive, wait_until

DEAF = """
import os, socket, sys, time
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    {pass_time}
"""


@pytest.fixture
def frontend() -> Iterator[FrontendProcess]:
    """A ready one, which is to answer within three seconds, in front of a Triton made of Python."""
    with in_process_triton(fake_triton()) as triton:
        process = FrontendProcess("127.0.0.1", free_port("127.0.0.1", 0), triton.address, hung_s=3)
        try:
            process.wait_until_ready()
            yield process
        finally:
            process.stop()


def test_a_frontend_that_was_stopped_is_killed_and_started_again_in_one_line(
    frontend: FrontendProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = frontend.pid
    os.kill(stopped, signal.SIGSTOP)

    def is_replaced() -> bool:
        frontend.revive()
        return frontend.restarts == 1

    wait_until(is_replaced, 30, "nobody noticed that the frontend hangs")
    assert not alive(stopped)
    frontend.wait_until_ready()
    urllib.request.urlopen(f"http://{frontend.address}/healthz", timeout=5).close()
    assert capsys.readouterr().err == "the frontend did not answer for 3 s and was killed; started again (1)\n"


@pytest.mark.parametrize(
    ("pass_time", "patience_s"),
    [pytest.param("time.sleep(9)", 0.6, id="frozen"), pytest.param("pass", 2.4, id="computing")],
)
def test_one_that_computes_is_given_four_times_as_long(pass_time: str, patience_s: float) -> None:
    code = DEAF.format(pass_time=pass_time)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            heartbeat = Heartbeat(process, f"127.0.0.1:{int(process.stdout.readline())}", hung_s=0.6)
            assert process.wait(30) == -signal.SIGKILL
            assert heartbeat.silent_s == pytest.approx(patience_s)
        finally:
            process.kill()


def test_one_that_refuses_connections_is_left_alone() -> None:
    """It is starting, or it has ended, which its parent sees."""
    port = free_port("127.0.0.1", 0)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(6)"]) as process:
        Heartbeat(process, f"127.0.0.1:{port}", hung_s=0.3)
        assert process.wait(30) == 0
