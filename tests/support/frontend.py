"""Fake models in the shape of the shipped cards, and the frontend on a real port."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from slipway_client import AsyncClient, FakeModel, FakeTransport
from slipway_core.card import ModelCard
from slipway_core.errors import InvalidInput
from slipway_core.tensors import Array
from slipway_frontend import Settings, create_app

CARDS = Path(__file__).parents[2] / "export" / "cards"
IRIS_ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


def by_petal_length(tensors: dict[str, Array]) -> dict[str, Array]:
    """Setosa up to 2.5 cm of petal, versicolor up to 4.9, else virginica."""
    classes = np.digitize(tensors["features"][:, 2], [2.5, 4.9])
    probabilities = np.full((len(classes), 3), 0.02, np.float32)
    probabilities[np.arange(len(classes)), classes] = 0.96
    return {"label": classes.astype(np.int64).reshape(-1, 1), "probabilities": probabilities}


def by_size_in_bytes(tensors: dict[str, Array]) -> dict[str, Array]:
    """The last digit of a PNG's size in bytes; anything else is refused as the real model refuses it."""
    images = tensors["image"].reshape(-1).tolist()
    for at, image in enumerate(images):
        if not image.startswith(b"\x89PNG"):
            raise InvalidInput(f"image {at}: not an image that can be decoded")
    classes = np.array([len(image) % 10 for image in images])
    probabilities = np.full((len(images), 10), 0.01, np.float32)
    probabilities[np.arange(len(images)), classes] = 0.91
    return {"label": classes.astype(np.int64).reshape(-1, 1), "probabilities": probabilities}


def fake_triton() -> FakeTransport:
    """The two shipped models, answered by plain functions."""
    iris, digits = (ModelCard.from_toml(CARDS / f"{name}.toml") for name in ("iris", "digits"))
    return FakeTransport(
        {
            "iris": FakeModel.of_card(iris, by_petal_length),
            "digits": FakeModel.of_card(digits, by_size_in_bytes),
        }
    )


@dataclass(frozen=True)
class InProcess:
    """The frontend's app, asked without a network."""

    app: FastAPI

    @classmethod
    def before(cls, transport: FakeTransport, **settings: object) -> InProcess:
        """The app in front of a transport."""
        made = Settings(**settings)  # type: ignore[arg-type]
        return cls(create_app(made, AsyncClient(transport)))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("POST", path, **more)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://frontend") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())


COMMAND = [sys.executable, "-m", "slipway_frontend"]


@dataclass
class FrontendProcess:
    """A frontend process that has said where it listens."""

    process: subprocess.Popen[str]
    announced: str

    @property
    def url(self) -> str:
        match = re.search(r"http://\S+", self.announced)
        assert match, self.announced
        return match.group()

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


@contextmanager
def frontend_process(triton: str, **environment: str) -> Iterator[FrontendProcess]:
    """``python -m slipway_frontend`` on a free port; killed at the end."""
    variables = {"SLIPWAY_HTTP_PORT": "0", "SLIPWAY_TRITON_GRPC": triton} | environment
    process = subprocess.Popen(
        COMMAND, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield FrontendProcess(process, process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def error_of(answer: httpx.Response, status: int) -> str:
    """The one line of an error answer, whose form is checked on the way."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    message = answer.json()["error"]
    assert message and "\n" not in message
    return message


@contextmanager
def frontend(transport: FakeTransport | str, **settings: object) -> Iterator[str]:
    """The frontend in front of a transport or an address, on a free port; gives its base URL."""
    made = Settings(**settings)  # type: ignore[arg-type]
    with serving(create_app(made, AsyncClient(transport, deadline_s=made.deadline_s))) as url:
        yield url


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """An app behind a real uvicorn in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
