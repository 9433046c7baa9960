"""``slipway up`` as a user runs it: a process, its printed lines, and the addresses in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SLIPWAY = [str(Path(sys.executable).with_name("slipway"))]
FREE_PORTS = ["--frontend-port", "0", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
LAST_LINE = "Ctrl-C stops everything."


@dataclass
class Stack:
    """A running ``slipway up``."""

    folder: Path
    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    @property
    def said(self) -> str:
        """Everything printed on stdout so far."""
        return "".join(self.out)

    @property
    def complained(self) -> str:
        """Everything printed on stderr so far."""
        return "".join(self.err)

    @property
    def frontend(self) -> str:
        return self._found(r"page +http://(\S+)/")

    @property
    def grpc(self) -> str:
        return self._found(r"Triton +gRPC (\S+)")

    @property
    def triton_http(self) -> str:
        return self._found(r"Triton .* HTTP http://(\S+)")

    @property
    def curl_lines(self) -> list[str]:
        return [line.strip() for line in self.out if line.strip().startswith("curl ")]

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.said)
        assert match, f"{pattern} is not in:\n{self.said}"
        return match.group(1)

    def slipway(self, *arguments: str, stdin: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command against this stack, in its folder."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*SLIPWAY, *arguments],
            cwd=self.folder,
            env=os.environ | {"SLIPWAY_TRITON_GRPC": self.grpc},
            input=data if data is not None else b"",
            capture_output=True,
            timeout=180,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def http(
        self, path: str, body: bytes | None = None, content_type: str = "application/json", method: str | None = None
    ) -> tuple[int, Any]:
        """The frontend's status and JSON."""
        request = urllib.request.Request(
            f"http://{self.frontend}{path}", data=body, headers={"Content-Type": content_type}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    def stop(self, how: int = signal.SIGINT, timeout_s: float = 30) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(timeout_s)


def wait_for(condition: Any, timeout_s: float, what: str) -> None:
    """Poll until ``condition()`` is true; fail with ``what`` when it never is."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def begin_stack(folder: Path, arguments: Sequence[str] = ()) -> Stack:
    """Start ``slipway up`` in ``folder`` on free ports; returns at once."""
    process = subprocess.Popen(
        [*SLIPWAY, "up", *FREE_PORTS, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stack = Stack(folder, process)
    for stream, lines in ((process.stdout, stack.out), (process.stderr, stack.err)):
        threading.Thread(target=lines.extend, args=(stream,), daemon=True).start()
    return stack


def start_stack(folder: Path, arguments: Sequence[str] = (), timeout_s: float = 280) -> Stack:
    """Start ``slipway up`` in ``folder`` on free ports and wait for its last line."""
    stack = begin_stack(folder, arguments)
    process = stack.process
    try:
        wait_for(lambda: LAST_LINE in stack.said or process.poll() is not None, timeout_s, "`slipway up` was not ready")
        assert LAST_LINE in stack.said, f"`slipway up` ended:\n{stack.said}\n{stack.complained}"
    except BaseException:
        process.kill()
        raise
    return stack


@contextmanager
def running_stack(folder: Path, arguments: Sequence[str] = ()) -> Iterator[Stack]:
    """A stack that is stopped at the end whatever happened."""
    stack = start_stack(folder, arguments)
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop(signal.SIGTERM)
