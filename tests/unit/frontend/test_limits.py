"""How much one request may cost: bytes, rows, lists, names, and how many requests are in work at once."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from slipway_client import FakeTransport, rpcs
from slipway_core.errors import InferenceFailed
from slipway_frontend.offload import LARGE_BYTES, offloaded
from support.frontend import IRIS_ROW, InProcess, by_petal_length, error_of, fake_triton

PREDICT, CLASSIFY, INFER = "/v1/models/iris/predict", "/v1/models/digits/classify", "/v2/models/iris/infer"


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def app(triton: FakeTransport) -> InProcess:
    return InProcess.before(triton)


@pytest.mark.parametrize(("path", "limit"), [(PREDICT, "text"), (CLASSIFY, "binary"), (INFER, "text")])
@pytest.mark.parametrize("announced", [True, False])
def test_a_body_beyond_the_limit_is_refused_on_every_route(
    triton: FakeTransport, path: str, limit: str, announced: bool
) -> None:
    app = InProcess.before(triton, **{f"max_{limit}_bytes": 4096})
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1024
            yield b"x" * 1024

    answer = app.post(path, content=b"x" * 5_000 if announced else endless())
    assert error_of(answer, 413) == (
        "the body is larger than the 4096 bytes taken in one call; "
        f"send less, or raise SLIPWAY_MAX_{limit.upper()}_BYTES"
    )
    assert taken < 10_000, "the rest was not even read"


def test_a_body_of_exactly_the_limit_is_taken(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_binary_bytes=1024)
    image = b"\x89PNG" + b"x" * 1020
    assert app.post("/v1/models/digits/classify", content=image).status_code == 200


def test_a_large_form_is_refused_too(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_binary_bytes=4096)
    assert error_of(app.post("/v1/models/digits/classify", files={"file": ("a.png", b"x" * 5_000)}), 413)


def test_fifty_thousand_rows_are_answered_in_order(app: InProcess) -> None:
    lengths = [1.0 + (at * 7 % 60) / 10 for at in range(50_000)]
    rows = [{**IRIS_ROW, "petal_length": length} for length in lengths]
    answer = app.post(PREDICT, json={"rows": rows})
    labels = [prediction["label"] for prediction in answer.json()["predictions"]]
    assert labels == ["setosa" if n < 2.5 else "versicolor" if n < 4.9 else "virginica" for n in lengths]


def filled(size_bytes: int, head: str, unit: str, tail: str) -> str:
    """A body of about that size."""
    return head + unit * ((size_bytes - len(head) - len(tail)) // len(unit)) + tail


MIB = 2**20
MORE = "send less, or raise"
COSTLY = [
    ("{},", 413, f"the body holds more rows than the 50000 taken in one call; {MORE} SLIPWAY_MAX_ROWS"),
    ("[],", 413, f"a row of the body is larger than the 1048576 bytes taken in one call; {MORE} SLIPWAY_MAX_ROW_BYTES"),
    ("0,", 413, f"a row of the body is larger than the 1048576 bytes taken in one call; {MORE} SLIPWAY_MAX_ROW_BYTES"),
    (
        '{"a":[' + "[]," * 2_000 + "0]},",
        400,
        "the rows hold 696348 lists; a feature's value is a number, a string, true or false",
    ),
]


@pytest.mark.parametrize(("unit", "status", "message"), COSTLY, ids=["objects", "lists", "numbers", "lists in rows"])
def test_a_body_that_would_cost_many_times_its_size_is_refused_before(
    app: InProcess, triton: FakeTransport, unit: str, status: int, message: str
) -> None:
    body = filled(2 * MIB, '{"rows":[', unit, "{}]}")
    assert error_of(app.post(PREDICT, content=body), status) == message
    assert triton.requests(rpcs.MODEL_INFER) == []


def test_one_row_of_too_many_names_is_refused_whatever_its_strings_hold(app: InProcess) -> None:
    for name in ("n", "{", '\\"{', "\\\\"):
        body = '{"rows":[{' + ",".join(f'"{name}{at}":0' for at in range(200_000)) + "}]}"
        assert len(body) > MIB
        assert "SLIPWAY_MAX_ROW_BYTES" in error_of(app.post(PREDICT, content=body), 413)


def test_a_large_body_of_small_rows_passes_whatever_its_strings_hold(app: InProcess) -> None:
    row = json.dumps({"note": '[{"a": "\\\\"}]' * 10, "n": '"' * 11})
    body = filled(2 * MIB, '{"rows":[', row + ",", "{}]}")
    assert error_of(app.post(PREDICT, content=body), 400).startswith("row 0: unknown feature 'note'")


@pytest.mark.parametrize("unit", ["[],", '{"a":0},'], ids=["lists", "objects"])
def test_raw_inference_takes_many_numbers_and_few_lists(app: InProcess, unit: str) -> None:
    body = filled(2 * MIB, '{"inputs":[{"data":[', unit, "0]}]}")
    told = error_of(app.post(INFER, content=body), 400)
    assert told.endswith("more than the 250000 that are read; send 'data' as one flat list")


def test_a_large_flat_tensor_is_taken_and_answered_whole(triton: FakeTransport) -> None:
    config = type(triton.models["iris"].config)(name="iris", max_batch_size=0)
    triton.models["iris"] = replace(triton.models["iris"], config=config, answer=lambda tensors: tensors)
    data = [at / 2 for at in range(200_000)]
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(data)], "data": data}
    answer = InProcess.before(triton).post(INFER, json={"inputs": [tensor]})
    assert answer.json()["outputs"] == [tensor]
    tensor["data"] = [*data[:-2], "a", 0]
    told = error_of(InProcess.before(triton).post(INFER, json={"inputs": [tensor]}), 400)
    assert told == "input 'x': 'data' holds a string, which a FP32 tensor cannot"


def test_a_csv_of_too_many_rows_is_refused(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_rows=2)
    csv = {"content": "petal_length\n1\n\n2\n3\n", "headers": {"Content-Type": "text/csv"}}
    assert error_of(app.post(PREDICT, **csv), 413) == (
        "the CSV holds more rows than the 2 taken in one call; send less, or raise SLIPWAY_MAX_ROWS"
    )


def test_large_work_leaves_the_event_loop_to_others() -> None:
    released = threading.Event()

    async def both() -> bool:
        waiting = asyncio.create_task(offloaded(LARGE_BYTES + 1, released.wait, 10))
        await asyncio.sleep(0)
        released.set()
        return await waiting

    assert asyncio.run(both()), "the loop could not go on while the work waited for it"


def test_more_requests_than_the_setting_allows_are_answered_503_but_never_probes(triton: FakeTransport) -> None:
    app = InProcess.before(triton, max_requests=1)

    async def asked() -> tuple[httpx.Response, ...]:
        begun, released = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            begun.set()
            await released.wait()
            yield json.dumps({"rows": [IRIS_ROW]}).encode()

        transport = httpx.ASGITransport(app.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://frontend") as client:
            first = asyncio.create_task(client.post(PREDICT, content=slow()))
            await begun.wait()
            second, probe = await client.get("/v1/models"), await client.get("/healthz")
            released.set()
            return await first, second, probe, await client.get("/v1/models")

    first, second, probe, third = asyncio.run(asked())
    assert error_of(second, 503) == (
        "the frontend is at work on 1 requests and takes no more now; try again, or raise SLIPWAY_MAX_REQUESTS"
    )
    assert second.headers["retry-after"] == "1"
    assert (first.status_code, probe.status_code, third.status_code) == (200, 200, 200)


HELD = 4096
FULL = (
    "the bodies of the requests in work fill the 4096 bytes they may take together; "
    "try again, or raise SLIPWAY_MAX_HELD_BYTES"
)


def holding_little(triton: FakeTransport, **settings: float) -> InProcess:
    return InProcess.before(triton, max_held_bytes=HELD, max_text_bytes=HELD, max_binary_bytes=HELD, **settings)


@dataclass
class Upload:
    """A client that stops in the middle of a body whose length it has not announced."""

    answer: asyncio.Task[httpx.Response]
    released: asyncio.Event

    @classmethod
    async def begun(cls, client: httpx.AsyncClient, sent: bytes, rest: bytes) -> Upload:
        arrived, released = asyncio.Event(), asyncio.Event()

        async def body() -> AsyncIterator[bytes]:
            yield sent
            arrived.set()
            await released.wait()
            yield rest

        answer = asyncio.create_task(client.post(PREDICT, content=body()))
        await arrived.wait()
        return cls(answer, released)

    async def ended(self) -> httpx.Response:
        self.released.set()
        return await self.answer


def test_bodies_that_would_pass_the_memory_together_are_answered_503(triton: FakeTransport) -> None:
    rows = json.dumps({"rows": [IRIS_ROW]}).encode()

    async def asked() -> None:
        transport = httpx.ASGITransport(holding_little(triton).app)
        async with httpx.AsyncClient(transport=transport, base_url="http://frontend") as client:
            small = await Upload.begun(client, rows.ljust(1500), b"")
            growing = await Upload.begun(client, rows.ljust(1500), b" " * 1500)
            assert (await client.post(CLASSIFY, content=b"\x89PNG".ljust(1096))).status_code == 200
            one_byte_more = await client.post(CLASSIFY, content=b"\x89PNG".ljust(1097))
            assert error_of(one_byte_more, 503) == FULL
            assert one_byte_more.headers["retry-after"] == "1"
            assert error_of(await growing.ended(), 503) == FULL, "it is told where it does not fit any more"
            assert (await small.ended()).status_code == 200

    asyncio.run(asked())


def refused(_: object) -> dict[str, object]:
    raise InferenceFailed("iris", "boom")


def broken(_: object) -> dict[str, object]:
    raise KeyError("a bug")


FILLING = json.dumps({"rows": [IRIS_ROW]}).encode().ljust(HELD)


@pytest.mark.parametrize(
    ("body", "answer", "status"),
    [
        (FILLING, by_petal_length, 200),
        (FILLING, refused, 500),
        (FILLING, broken, 500),
        (b" " * HELD, by_petal_length, 400),
        (FILLING + b" ", by_petal_length, 413),
    ],
    ids=["answered", "failed", "bug", "no-json", "too-large"],
)
def test_what_a_request_held_is_free_after_its_end(
    triton: FakeTransport, body: bytes, answer: Callable[..., Any], status: int
) -> None:
    triton.models["iris"] = replace(triton.models["iris"], answer=answer)
    app = holding_little(triton)

    async def parts() -> AsyncIterator[bytes]:
        yield body[:100]
        yield body[100:HELD]
        yield body[HELD:]

    for _ in range(2):
        assert app.post(PREDICT, content=parts()).status_code == status
    assert app.post(CLASSIFY, files={"file": b"\x89PNG".ljust(HELD - 500)}).status_code == 200
    assert app.post(CLASSIFY, content=b"\x89PNG".ljust(HELD)).status_code == 200


def test_what_a_request_held_is_free_after_it_was_cut_off(triton: FakeTransport) -> None:
    app = holding_little(triton, receive_timeout_s=0.05)

    async def stalling() -> AsyncIterator[bytes]:
        yield FILLING
        await asyncio.Event().wait()

    error_of(app.post(PREDICT, content=stalling()), 408)
    assert app.post(CLASSIFY, content=b"\x89PNG".ljust(HELD)).status_code == 200
