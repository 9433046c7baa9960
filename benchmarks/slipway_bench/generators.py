"""Compiled load generators: Python cannot load Triton without measuring itself."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from slipway_core.errors import CannotServe

JSON_BODY: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})

_SCRIPT = """
wrk.method = "POST"
{headers}
local f = io.open("{body}", "rb"); wrk.body = f:read("*all"); f:close()
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT {{"requests": %d, "duration_us": %d, "errors": %d, "p50_us": %d, "p99_us": %d}}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of a generator saw. Latencies in microseconds; ``errors`` counts answers that were no success."""

    requests_per_s: float
    p50_us: int
    p99_us: int
    errors: int


def wrk(url: str, body: bytes, *, connections: int, seconds: int, headers: Mapping[str, str] = JSON_BODY) -> Load:
    """POST ``body`` to ``url`` over ``connections`` kept-alive connections with wrk (closed loop, one thread).

    Raises :class:`CannotServe` when wrk is not installed, and RuntimeError when it reports nothing.
    """
    _need("wrk", "wrk")
    with tempfile.TemporaryDirectory() as folder:
        content, script = Path(folder, "body"), Path(folder, "post.lua")
        content.write_bytes(body)
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        script.write_text(_SCRIPT.format(body=content, headers=lines), encoding="utf-8")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    if found is None:
        raise RuntimeError(f"wrk reported nothing: {done.stdout}{done.stderr}")
    facts = json.loads(found.group(1))
    return Load(facts["requests"] / facts["duration_us"] * 1e6, facts["p50_us"], facts["p99_us"], facts["errors"])


def h2load(address: str, method: str, message: bytes, *, requests: int, in_flight: int) -> float:
    """Ask a unary gRPC method ``requests`` times over one connection with h2load; gives requests per second.

    A fixed number of requests, so that what is in flight at the end is counted with its time. ``message`` is the
    serialised protobuf. h2load sees HTTP's status alone: whether gRPC's was fine is for the caller to find out.
    Raises :class:`CannotServe` when h2load is not installed, and RuntimeError when a request fails.
    """
    _need("h2load", "nghttp2-client")
    with tempfile.TemporaryDirectory() as folder:
        framed = Path(folder, "message")
        framed.write_bytes(struct.pack(">BI", 0, len(message)) + message)  # gRPC: compressed flag, length, message
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        load = ["-n", str(requests), "-c", "1", "-m", str(in_flight), "-d", str(framed), *headers]
        done = subprocess.run(
            ["h2load", *load, f"http://{address}/{method}"], capture_output=True, text=True, timeout=600, check=False
        )
    found = re.search(r"^finished in [\d.]+m?s, ([\d.]+) req/s", done.stdout, re.M)
    if found is None or f" {requests} succeeded" not in done.stdout:
        raise RuntimeError(f"h2load did not succeed: {done.stdout}{done.stderr}")
    return float(found.group(1))


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise CannotServe(f"{program} is not installed", f"on Debian or Ubuntu: apt-get install {package}")
