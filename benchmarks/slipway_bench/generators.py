"""Compiled load generators: Python cannot load Triton without measuring itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slipway_core.errors import CannotServe

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
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


def wrk(url: str, body: bytes, *, connections: int, seconds: int, threads: int = 1) -> Load:
    """POST ``body`` to ``url`` over ``connections`` kept-alive connections with wrk (closed loop).

    Raises :class:`CannotServe` when wrk is not installed, and RuntimeError when it reports nothing.
    """
    if shutil.which("wrk") is None:
        raise CannotServe("wrk is not installed", "on Debian or Ubuntu: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        content, script = Path(folder, "body"), Path(folder, "post.lua")
        content.write_bytes(body)
        script.write_text(_SCRIPT.format(body=content), encoding="utf-8")
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    if found is None:
        raise RuntimeError(f"wrk reported nothing: {done.stdout}{done.stderr}")
    facts = json.loads(found.group(1))
    return Load(facts["requests"] / facts["duration_us"] * 1e6, facts["p50_us"], facts["p99_us"], facts["errors"])
