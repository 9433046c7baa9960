"""What it costs to send an image file instead of its pixels, and what large images cost everybody else.

    python benchmarks/image_hop.py [--pairs 9] [--seconds 4] [--repository model_repository]

1. The hop: `digits` with a PNG of 8 x 8 pixels (decoded, then handed to the net through BLS) against `digits_net` with
   the same pixels as bytes. wrk over HTTP with binary tensors, one connection and sixteen; interleaved pairs.
2. Decoding: a JPEG of 1024 x 768 to 224 x 224, resized and cropped as for a ResNet; in this process, one thread.
3. The neighbours: the same small PNG over one connection, alone and while three clients send two 49-megapixel PNGs
   per request; interleaved pairs.

Writes benchmarks/results/image_hop.json.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import struct
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from slipway_bench import Result, write_result
from slipway_bench.generators import Load, wrk
from slipway_client import Client
from slipway_core.images import ImageSpec
from slipway_core.layout import ModelDirectory
from slipway_core.tensors import Array
from slipway_export.image_model.decoding import Preparation, prepared
from slipway_serving import ServeOptions, Server, start

ROOT = Path(__file__).parents[1]
WHAT = "What it costs to send an image file instead of its pixels, and what large images cost everybody else"
CONNECTIONS = (1, 16)
LARGE_SIDE, LARGE_CLIENTS, LARGE_FILES = 7000, 3, 2
RESNET = ImageSpec(height=224, width=224, resize="crop", shorter_side=256)


@dataclass(frozen=True)
class Request:
    """One model's request in HTTP's binary form, which spares both sides the JSON of numbers."""

    url: str
    body: bytes
    headers: dict[str, str]

    def load(self, connections: int, seconds: int) -> Load:
        found = wrk(self.url, self.body, connections=connections, seconds=seconds, headers=self.headers)
        assert not found.errors, f"{found.errors} requests to {self.url} failed"
        return found


def main() -> int:
    """Measure, write the result file, print."""
    parser = argparse.ArgumentParser(description=WHAT)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    options = parser.parse_args()
    if not ModelDirectory(options.repository, "digits").versions():
        raise SystemExit("image_hop: digits is not published; run: slipway train digits && slipway export digits")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype=np.uint8)
    serve = ServeOptions(
        repository=options.repository, http_port=0, grpc_port=0, metrics_port=0, log=lambda _line: None
    )
    with start(serve) as triton:
        file = _request(triton, "digits", "BYTES", [1, 1], _counted(_png(pixels[0, ..., 0])))
        array = _request(triton, "digits_net", "UINT8", [1, 8, 8, 1], pixels.tobytes())
        hop = {f"connections_{count}": _hop(file, array, count, options) for count in CONNECTIONS}
        beside = _beside(triton, file, options)
    figures = {"hop": hop, "decoding": _decoding(options.seconds), "small_beside_large": beside}
    path = write_result(Result("image_hop", WHAT, figures), ROOT / "benchmarks" / "results")
    print(json.dumps(figures, indent=2), path, sep="\n")
    return 0


def _request(triton: Server, model: str, datatype: str, shape: Sequence[int], raw: bytes) -> Request:
    size = {"binary_data_size": len(raw)}
    tensor = {"name": "image", "datatype": datatype, "shape": list(shape), "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return Request(f"http://{triton.http_address}/v2/models/{model}/infer", header + raw, headers)


def _counted(content: bytes) -> bytes:
    """An element of a BYTES tensor: its length, then itself."""
    return struct.pack("<I", len(content)) + content


def _png(pixels: Array) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def _hop(file: Request, array: Request, connections: int, options: argparse.Namespace) -> dict[str, Any]:
    loads: dict[str, list[Load]] = {"digits_png": [], "digits_net_uint8": []}
    for at in range(options.pairs + 1):  # the first only warms
        _progress(f"hop, {connections} at a time, round {at} of {options.pairs}")
        for name, request in zip(loads, (file, array), strict=True):
            loads[name].append(request.load(connections, options.seconds))
    return {name: _summary(found[1:]) for name, found in loads.items()}


def _beside(triton: Server, file: Request, options: argparse.Namespace) -> dict[str, Any]:
    large = _png(np.zeros((LARGE_SIDE, LARGE_SIDE, 3), np.uint8))
    alone: list[Load] = []
    beside: list[Load] = []
    answered = 0
    for at in range(options.pairs):
        _progress(f"small beside large, round {at + 1} of {options.pairs}")
        alone.append(file.load(1, options.seconds))
        with _sending(triton.grpc_address, large) as seconds:
            beside.append(file.load(1, options.seconds))
        answered += len(seconds)
    return {"alone": _summary(alone), "beside_large": _summary(beside), "large_requests_answered": answered}


@contextmanager
def _sending(address: str, large: bytes) -> Generator[list[float]]:
    """Send large requests over and over while the block runs; gives how long each took."""
    stop = threading.Event()
    seconds: list[float] = []

    def send() -> None:
        with Client(address, deadline_s=120) as client:
            while not stop.is_set():
                begin = time.perf_counter()
                client.classify("digits", [large] * LARGE_FILES)
                seconds.append(time.perf_counter() - begin)

    clients = [threading.Thread(target=send) for _ in range(LARGE_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield seconds
    finally:
        stop.set()
        for client in clients:
            client.join()


def _decoding(seconds: int) -> dict[str, float | int]:
    """A photo as far as JPEG is concerned: blurred noise, so that there are edges and smooth regions."""
    noise = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(3)).save(stream, "JPEG", quality=90)
    data, how = stream.getvalue(), Preparation.from_json(RESNET.model_dump_json())
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        prepared(data, how)
        taken.append((time.perf_counter() - begin) * 1e3)
    return {
        "file_bytes": len(data),
        "decode_ms_median": round(statistics.median(taken), 3),
        "decode_ms_p99": round(float(np.quantile(taken, 0.99)), 3),
    }


def _summary(loads: Sequence[Load]) -> dict[str, Any]:
    return {
        "p50_us_median": statistics.median(load.p50_us for load in loads),
        "p99_us_median": statistics.median(load.p99_us for load in loads),
        "requests_per_s_median": round(statistics.median(load.requests_per_s for load in loads)),
        "requests_per_s": [round(load.requests_per_s) for load in loads],
    }


def _progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
