"""The stand-in backend against ONNX Runtime called in-process, and dynamic batching against none.

    python benchmarks/backend_speed.py [--pairs 9] [--seconds 4]

1. ResNet-18, 224 x 224, batch 8: images/s through Triton (two requests in flight) against the same model, with the
   same number of threads, called in this process. Interleaved pairs, median of the ratios. The generator is compiled
   (h2load, gRPC) and shares the cores; the same through slipway's Python client shows what that costs.
2. iris at 32 connections (wrk, HTTP, JSON): requests/s with dynamic batching, without it, and with dynamic batching
   before a backend that runs each request of a batch by itself.

Writes benchmarks/results/backend_speed.json; exit code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
from resnet18 import write_resnet18

from slipway_bench import Result, write_result
from slipway_bench.generators import Load, h2load, wrk
from slipway_bench.results import median_ratio
from slipway_client import AsyncClient
from slipway_client.messages import infer_request
from slipway_core.tensors import Array
from slipway_serving import ServeOptions, Server, start

ROOT = Path(__file__).parents[1]
WHAT = "The stand-in backend against ONNX Runtime in-process, and dynamic batching against none"
BATCH, IN_FLIGHT, CONNECTIONS = 8, 2, 32
INFER = "inference.GRPCInferenceService/ModelInfer"
THREADS = len(os.sched_getaffinity(0))

RESNET_CONFIG = f"""
name: "resnet18"
platform: "onnxruntime_onnx"
max_batch_size: {BATCH}
input {{ name: "input" data_type: TYPE_FP32 dims: [3, 224, 224] }}
output {{ name: "output" data_type: TYPE_FP32 dims: [1000] }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "{THREADS}" }} }}
"""

IRIS_CONFIG = """
name: "{name}"
{runtime}
max_batch_size: 64
input {{ name: "features" data_type: TYPE_FP32 dims: [4] }}
output {{ name: "probabilities" data_type: TYPE_FP32 dims: [3] }}
instance_group {{ count: 1 kind: KIND_CPU }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
{batching}
"""

EACH_BY_ITSELF = '''"""Runs each request of a batch by itself: the usual way to write a python-backend model."""
import pathlib

import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = pathlib.Path(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        responses = []
        for request in requests:
            features = pb_utils.get_input_tensor_by_name(request, "features").as_numpy()
            (probabilities,) = self.session.run(["probabilities"], {"features": features})
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("probabilities", probabilities)]))
        return responses
'''


def main() -> int:
    """Run both parts and write the result file."""
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument(
        "--iris", type=Path, default=None, help="an iris model.onnx; the newest published one by default"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = _repository(Path(folder), options.iris or _published_iris())
        with start(ServeOptions(repository=repository, http_port=0, grpc_port=0, metrics_port=0, log=_quiet)) as triton:
            resnet = _resnet(repository, triton, options.pairs, options.seconds)
            iris = _iris(triton.http_address, options.pairs, options.seconds)
    promises = {
        "ResNet-18 through Triton keeps at least 0.92 of the in-process images/s": resnet["ratio"] >= 0.92,
        "iris with dynamic batching reaches at least 2.0 times the requests/s without": iris["batched_to_single"]
        >= 2.0,
    }
    figures = {"resnet18_batch_8": resnet, "iris_32_connections": iris}
    path = write_result(Result("backend_speed", WHAT, figures, promises), ROOT / "benchmarks" / "results")
    print(json.dumps(figures, indent=2), *(f"{held}: {promise}" for promise, held in promises.items()), path, sep="\n")
    return 0 if all(promises.values()) else 1


def _quiet(_: str) -> None:
    """Triton's log is of no interest here."""


def _published_iris() -> Path:
    versions = sorted((ROOT / "model_repository" / "iris").glob("[0-9]*/model.onnx"), key=lambda p: int(p.parent.name))
    if not versions:
        raise SystemExit("backend_speed: iris is not published; run: slipway train iris && slipway export iris")
    return versions[-1]


def _repository(folder: Path, iris: Path) -> Path:
    resnet = folder / "resnet18" / "1"
    resnet.mkdir(parents=True)
    write_resnet18(resnet / "model.onnx")
    (resnet.parent / "config.pbtxt").write_text(RESNET_CONFIG)
    native, python = 'platform: "onnxruntime_onnx"', 'backend: "python"'
    for name, runtime, batching in (
        ("iris_batched", native, "dynamic_batching { }"),
        ("iris_single", native, ""),
        ("iris_each", python, "dynamic_batching { }"),
    ):
        version = folder / name / "1"
        version.mkdir(parents=True)
        shutil.copy(iris, version / "model.onnx")
        (folder / name / "config.pbtxt").write_text(IRIS_CONFIG.format(name=name, runtime=runtime, batching=batching))
    (folder / "iris_each" / "1" / "model.py").write_text(EACH_BY_ITSELF)
    return folder


def _resnet(repository: Path, triton: Server, pairs: int, seconds: int) -> dict[str, Any]:
    images = np.random.default_rng(0).standard_normal((BATCH, 3, 224, 224), dtype=np.float32)
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = THREADS
    session = ort.InferenceSession(str(repository / "resnet18" / "1" / "model.onnx"), settings)

    def run() -> Array:
        return np.asarray(session.run(["output"], {"input": images})[0])

    expected = run()

    message = infer_request("resnet18", "", {"input": images}).SerializeToString()

    def in_process() -> float:
        return _rate(run, seconds)

    def by_h2load() -> float:
        requests = round(seconds * rates["in_process"][-1] / BATCH)
        before = _successes(triton.http_address)
        rate = h2load(triton.grpc_address, INFER, message, requests=requests, in_flight=IN_FLIGHT)
        assert _successes(triton.http_address) - before == requests, "a request failed"
        return rate * BATCH

    def by_client() -> float:
        return asyncio.run(_through_client(triton.grpc_address, images, expected, seconds))

    contestants = {"in_process": in_process, "triton_h2load": by_h2load, "triton_python_client": by_client}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for at in range(pairs + 1):  # the first only warms
        _progress(f"ResNet-18 round {at} of {pairs}")
        for name, measure in contestants.items():
            rates[name].append(measure())
    rates = {name: found[1:] for name, found in rates.items()}
    return {
        "ratio": round(median_ratio(rates["triton_h2load"], rates["in_process"]), 3),
        "ratio_with_python_client": round(median_ratio(rates["triton_python_client"], rates["in_process"]), 3),
        "images_per_s": {name: [round(rate, 2) for rate in found] for name, found in rates.items()},
        "intra_op_threads": THREADS,
        "requests_in_flight": IN_FLIGHT,
    }


def _successes(address: str) -> int:
    """How many inferences of the ResNet Triton has answered well: h2load does not look into gRPC's status."""
    with httpx.Client() as http:
        statistics_of = http.get(f"http://{address}/v2/models/resnet18/stats").json()["model_stats"][0]
    return int(statistics_of["inference_stats"]["success"]["count"])


def _rate(run: Callable[[], object], seconds: int) -> float:
    """Images per second of batches run one after the other."""
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        run()
        done += 1
    return done * BATCH / (time.perf_counter() - begin)


async def _through_client(address: str, images: Array, expected: Array, seconds: int) -> float:
    done = 0
    async with AsyncClient(address) as client:
        begin = time.perf_counter()

        async def ask() -> None:
            nonlocal done
            while time.perf_counter() - begin < seconds:
                answer = await client.infer("resnet18", {"input": images})
                assert np.allclose(answer.tensors["output"], expected, atol=1e-3, rtol=1e-3)
                done += 1

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))
        return done * BATCH / (time.perf_counter() - begin)


def _iris(address: str, pairs: int, seconds: int) -> dict[str, Any]:
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()
    runs: dict[str, list[Load]] = {"iris_batched": [], "iris_single": [], "iris_each": []}
    for name in runs:
        wrk(f"http://{address}/v2/models/{name}/infer", body, connections=CONNECTIONS, seconds=1)
    for at in range(pairs):
        _progress(f"iris round {at + 1} of {pairs}")
        for name, loads in runs.items():
            url = f"http://{address}/v2/models/{name}/infer"
            loads.append(wrk(url, body, connections=CONNECTIONS, seconds=seconds))
    assert not any(load.errors for loads in runs.values() for load in loads), "a request failed"
    rates = {name: [load.requests_per_s for load in loads] for name, loads in runs.items()}
    return {
        "batched_to_single": round(median_ratio(rates["iris_batched"], rates["iris_single"]), 2),
        "batched_to_each_by_itself": round(median_ratio(rates["iris_batched"], rates["iris_each"]), 2),
        "requests_per_s": {name: [round(rate) for rate in found] for name, found in rates.items()},
        "p99_us_median": {name: statistics.median(load.p99_us for load in loads) for name, loads in runs.items()},
    }


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
