"""The frontend before a real Triton: its ``/v2`` answers what Triton's own HTTP port answers."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from slipway_client import Client
from support.export import pixel_images
from support.frontend import IRIS_ROW, frontend
from support.served import FLOWERS, MIRROR, PIXELS, publish_all
from support.triton import RunningTriton, publish_python, wait_until, workers


@pytest.fixture(scope="module")
def ours(triton: RunningTriton) -> Iterator[httpx.Client]:
    publish_all(triton)
    with frontend(triton.grpc) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(triton: RunningTriton) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{triton.http}", timeout=20) as client:
        yield client


@pytest.mark.parametrize("model", [FLOWERS, PIXELS, f"{PIXELS}_net", MIRROR])
@pytest.mark.parametrize("what", ["", "/config", "/versions/1", "/versions/1/config"])
def test_metadata_and_configuration_equal_tritons(
    ours: httpx.Client, theirs: httpx.Client, model: str, what: str
) -> None:
    path = f"/v2/models/{model}{what}"
    assert ours.get(path).json() == theirs.get(path).json()


def tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [1, len(data)], "data": data}


FEATURES = {
    "name": "features",
    "datatype": "FP32",
    "shape": [2, 4],
    "data": [[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]],
}
ASKED = [
    (FLOWERS, {"inputs": [FEATURES]}),
    (FLOWERS, {"id": "seven", "inputs": [FEATURES], "outputs": [{"name": "label"}]}),
    (FLOWERS, {"inputs": [FEATURES], "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}]}),
    (MIRROR, {"inputs": [tensor("in_bool", "BOOL", [True, False]), tensor("in_int8", "INT8", [-128, 127])]}),
    (MIRROR, {"inputs": [tensor("in_uint64", "UINT64", [2**64 - 1]), tensor("in_int64", "INT64", [-(2**63)])]}),
    (MIRROR, {"inputs": [tensor("in_fp64", "FP64", [0.1, 1e300]), tensor("in_bytes", "BYTES", ["Köln", ""])]}),
    (MIRROR, {"inputs": [tensor("in_uint8", "UINT8", [0, 255]), tensor("in_uint32", "UINT32", [2**32 - 1])]}),
]


@pytest.mark.parametrize(("model", "body"), ASKED)
def test_inference_equals_tritons(ours: httpx.Client, theirs: httpx.Client, model: str, body: dict[str, Any]) -> None:
    path = f"/v2/models/{model}/infer"
    mine, its = ours.post(path, json=body), theirs.post(path, json=body)
    assert (mine.status_code, its.status_code) == (200, 200), (mine.text, its.text)
    assert mine.json() == its.json()


REFUSED = [
    ("nowhere", {"inputs": [FEATURES]}, 404),
    (FLOWERS, {"inputs": []}, 400),
    (FLOWERS, {"inputs": [FEATURES | {"name": "feature"}]}, 400),
    (FLOWERS, {"inputs": [FEATURES], "outputs": [{"name": "labels"}]}, 400),
    (FLOWERS, {"inputs": [FEATURES | {"shape": [4, 2]}]}, 400),
    (FLOWERS, {"inputs": [{"name": "features", "datatype": "FP32", "shape": [17, 4], "data": [0.5] * 68}]}, 400),
]


@pytest.mark.parametrize(("model", "body", "status"), REFUSED)
def test_what_triton_refuses_is_refused_with_its_status(
    ours: httpx.Client, theirs: httpx.Client, model: str, body: dict[str, Any], status: int
) -> None:
    path = f"/v2/models/{model}/infer"
    assert (ours.post(path, json=body).status_code, theirs.post(path, json=body).status_code) == (status, status)


def test_rows_and_images_are_answered(ours: httpx.Client) -> None:
    rows = {"rows": [IRIS_ROW] * 100}
    predicted = ours.post(f"/v1/models/{FLOWERS}/predict", json=rows).json()["predictions"]
    assert [prediction["label"] for prediction in predicted] == ["setosa"] * 100
    files = [("file", (f"{at}.png", png(pixels))) for at, pixels in enumerate(pixel_images(20))]
    classified = ours.post(f"/v1/models/{PIXELS}/classify", files=files).json()["predictions"]
    assert [prediction["file"] for prediction in classified] == [f"{at}.png" for at in range(20)]
    assert all(len(prediction["top"]) == 3 for prediction in classified)


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels.squeeze()).save(stream, "PNG")
    return stream.getvalue()


def test_a_text_named_png_is_a_400_that_names_it(ours: httpx.Client) -> None:
    answer = ours.post(f"/v1/models/{PIXELS}/classify", files={"file": ("notes.png", b"some text")})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("notes.png: ")


def test_a_cut_off_image_is_a_400_that_names_it(ours: httpx.Client) -> None:
    whole = png(np.random.default_rng(0).integers(0, 255, (64, 64, 1), dtype=np.uint8))
    answer = ours.post(f"/v1/models/{PIXELS}/classify", files={"file": ("half.png", whole[: len(whole) // 2])})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("half.png: ")


def test_readiness_is_tritons(ours: httpx.Client) -> None:
    models = {model["name"] for model in ours.get("/readyz").json()["models"]}
    assert {FLOWERS, PIXELS, f"{PIXELS}_net", MIRROR} <= models
    assert ours.get(f"/v2/models/{FLOWERS}/ready").json() == {"name": FLOWERS, "ready": True}


def test_a_model_that_is_being_loaded_is_a_503_and_no_404(
    ours: httpx.Client, triton: RunningTriton, tmp_path: Path
) -> None:
    may_load, waits = tmp_path / "may-load", "waits"
    code = f"""
import pathlib, time

class TritonPythonModel:
    def initialize(self, args):
        while not pathlib.Path({str(may_load)!r}).exists():
            time.sleep(0.02)

    def execute(self, requests):
        return []
"""
    config = 'input { name: "x" data_type: TYPE_FP32 dims: 1 }\noutput { name: "y" data_type: TYPE_FP32 dims: 1 }\n'
    publish_python(triton.repository, waits, code, config)
    with Client(triton.grpc) as client:
        loading = threading.Thread(target=client.load, args=(waits,))
        loading.start()
        try:
            wait_until(lambda: any(state.name == waits for state in client.index()), 30, "Triton does not load it")
            answer = ours.post(f"/v2/models/{waits}/infer", json={"inputs": [tensor("x", "FP32", [1])]})
        finally:
            may_load.touch()
            loading.join()
        client.unload(waits)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "1"), answer.text
    assert ours.post(f"/v2/models/{waits}/infer", json={"inputs": [FEATURES]}).status_code == 404


def test_a_killed_worker_is_told_as_such_until_the_model_answers_again(
    ours: httpx.Client, triton: RunningTriton
) -> None:
    body = {"inputs": [tensor("in_int8", "INT8", [1])]}
    killed = set(workers(triton.server, MIRROR))  # Triton may still be ending one of an earlier load
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    seen: set[tuple[int, str]] = set()

    def recovered() -> bool:
        answer = ours.post(f"/v2/models/{MIRROR}/infer", json=body)
        seen.add((answer.status_code, answer.json().get("error", "")))
        return answer.status_code == 200 and bool(set(workers(triton.server, MIRROR)) - killed)

    wait_until(recovered, 30, "the model did not come back")
    died = f"model '{MIRROR}' failed: its worker process died and is being restarted; try again in a few seconds"
    assert seen <= {(200, ""), (503, died)}
    assert all(model["ready"] for model in ours.get("/readyz").json()["models"] if model["name"] == MIRROR)
