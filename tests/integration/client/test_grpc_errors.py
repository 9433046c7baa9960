"""Over a real gRPC connection: Triton's statuses become slipway's errors, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from slipway_client import AsyncClient, Client
from slipway_core import errors
from support.client import InProcessTriton, in_process_triton
from support.frontend import IRIS_ROW, fake_triton

Status = grpc.StatusCode
ONE_ROW = {"features": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}


@pytest.fixture
def triton() -> Iterator[InProcessTriton]:
    with in_process_triton(fake_triton()) as triton:
        yield triton


@pytest.fixture
def client(triton: InProcessTriton) -> Iterator[Client]:
    with Client(triton.address, deadline_s=10) as client:
        yield client


def test_rows_and_tensors_travel_over_the_wire(client: Client) -> None:
    assert client.live() and client.ready()
    assert [model.name for model in client.models()] == ["digits", "iris"]
    assert client.predict("iris", [IRIS_ROW]).predictions[0].label == "setosa"  # type: ignore[union-attr]
    result = client.infer("iris", ONE_ROW)
    assert result.tensors["label"].tolist() == [[0]]
    assert result.tensors["probabilities"].dtype == np.float32


# Status and message as Triton 2.51 was seen to send them, the error they become, and its line.
REFUSALS = [
    (
        Status.UNAVAILABLE,
        "[request id: <id_unknown>] Exceeds maximum queue size",
        errors.Overloaded,
        "model 'iris' takes no more requests now (its queue is full); try again later",
    ),
    (
        Status.UNAVAILABLE,
        "Request timeout expired",
        errors.Overloaded,
        "model 'iris' takes no more requests now (the request waited in the queue longer than its timeout); "
        "try again later",
    ),
    (
        Status.UNAVAILABLE,
        "digits_net version 2: no such version is loaded",
        errors.Overloaded,
        "model 'iris' takes no more requests now (digits_net version 2: no such version is loaded); try again later",
    ),
    (
        Status.UNAVAILABLE,
        "Request for unknown model: 'iris' version 1 is not at ready state",
        errors.Overloaded,
        "model 'iris' takes no more requests now (none of its versions is loaded at the moment); try again later",
    ),
    (
        Status.NOT_FOUND,
        "Request for unknown model: 'iris' has no available versions",
        errors.ModelNotFound,
        "no model 'iris' is served",
    ),
    (
        Status.INVALID_ARGUMENT,
        "[request id: <id_unknown>] inference request batch-size must be <= 64 for 'iris'",
        errors.BatchTooLarge,
        "1 rows are more than model 'iris' takes in one request (64); "
        "send at most 64, or use predict, which splits and joins them",
    ),
    (
        Status.INVALID_ARGUMENT,
        "[request id: 7] unexpected shape for input 'features' for model 'iris'. Expected [-1,4], got [1,5]. "
        "NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended "
        "to each input shape.",
        errors.InvalidInput,
        "unexpected shape for input 'features' for model 'iris'. Expected [-1,4], got [1,5]",
    ),
    (
        Status.INTERNAL,
        "Failed to process the request(s) for model 'iris_0_0', message: RuntimeError: boom\n\nAt:\n  model.py(10): "
        "execute\n",
        errors.InferenceFailed,
        "model 'iris' failed: RuntimeError: boom",
    ),
    (
        Status.INTERNAL,
        "Stub process 'iris_0_0' is not healthy.",
        errors.WorkerDied,
        "model 'iris' failed: its worker process died and is being restarted; try again in a few seconds",
    ),
    (
        Status.INTERNAL,
        "Failed to process the request(s) for model 'digits_0_0', message: "
        "Stub process 'digits_net_0_1' is not healthy.",
        errors.WorkerDied,
        "model 'digits_net' failed: its worker process died and is being restarted; try again in a few seconds",
    ),
    (
        Status.UNIMPLEMENTED,
        "ModelInfer RPC doesn't support models with decoupled transaction policy",
        errors.UnsupportedByServer,
        "Triton at {address} does not support ModelInfer: "
        "ModelInfer RPC doesn't support models with decoupled transaction policy",
    ),
    (
        Status.RESOURCE_EXHAUSTED,
        "Received message larger than max",
        errors.InvalidInput,
        "the request or its answer is too large for gRPC: Received message larger than max",
    ),
    (
        Status.DEADLINE_EXCEEDED,
        "Deadline Exceeded",
        errors.DeadlineExceeded,
        "model 'iris' did not answer within 10 s",
    ),
    (
        Status.UNAVAILABLE,
        "Server is stopping",
        errors.ServerUnavailable,
        "no Triton answers at {address} (Server is stopping); start one with: slipway up",
    ),
    (Status.UNKNOWN, "what is this", errors.InferenceFailed, "model 'iris' failed: what is this"),
]


@pytest.mark.parametrize(("status", "details", "error", "line"), REFUSALS, ids=[r[2].__name__ for r in REFUSALS])
def test_each_refusal_of_triton_is_one_clear_error(
    triton: InProcessTriton, client: Client, status: Status, details: str, error: type[Exception], line: str
) -> None:
    triton.refuse("ModelInfer", status, details)
    with pytest.raises(errors.SlipwayError) as refused:
        client.infer("iris", ONE_ROW)
    assert type(refused.value) is error
    assert str(refused.value) == line.format(address=triton.address)
    assert triton.taken["ModelInfer"] == 1, "a request that may have run is never repeated"


@pytest.mark.parametrize("status", [Status.INTERNAL, Status.INVALID_ARGUMENT, Status.NOT_FOUND])
def test_a_model_that_cannot_be_loaded_is_a_broken_repository(
    triton: InProcessTriton, client: Client, status: Status
) -> None:
    triton.refuse("RepositoryModelLoad", status, "failed to load 'iris', failed to poll from model repository")
    with pytest.raises(errors.RepositoryBroken) as refused:
        client.load("iris")
    assert str(refused.value) == "iris: failed to load 'iris', failed to poll from model repository"


def test_a_server_that_controls_its_models_itself_refuses_to_load(triton: InProcessTriton, client: Client) -> None:
    said = "explicit model load / unload is not allowed if polling is enabled"
    triton.refuse("RepositoryModelLoad", Status.UNAVAILABLE, said)
    with pytest.raises(errors.UnsupportedByServer) as refused:
        client.load("iris")
    assert str(refused.value) == f"Triton at {triton.address}: {said}"


def test_a_bad_image_is_named_over_the_wire(client: Client) -> None:
    with pytest.raises(errors.InvalidImage) as refused:
        client.classify("digits", [b"\x89PNG", b"no"], names=["a.png", "b.png"])
    assert str(refused.value) == "b.png: not an image that can be decoded"


def test_a_server_that_hangs_ends_in_a_deadline_for_every_call(triton: InProcessTriton) -> None:
    for rpc in ("ModelInfer", "ModelConfig", "RepositoryIndex", "ServerLive", "RepositoryModelLoad"):
        triton.hang(rpc)
    with Client(triton.address, deadline_s=0.3) as client:
        for ask, what in [
            (lambda: client.infer("iris", ONE_ROW), "model 'iris'"),
            (lambda: client.predict("iris", [IRIS_ROW]), "model 'iris'"),
            (lambda: client.load("iris"), "model 'iris'"),
            (client.index, f"Triton at {triton.address}"),
        ]:
            with pytest.raises(errors.DeadlineExceeded) as late:
                ask()
            assert str(late.value) == f"{what} did not answer within 0.3 s"
        assert not client.live()


def test_a_process_that_takes_connections_and_says_nothing_ends_in_a_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with (
            Client(f"127.0.0.1:{silent.getsockname()[1]}", deadline_s=0.5) as client,
            pytest.raises(errors.DeadlineExceeded),
        ):
            client.infer("iris", ONE_ROW)


def test_an_abandoned_call_is_cancelled_at_the_server(triton: InProcessTriton) -> None:
    triton.hang("ModelInfer")

    async def abandon() -> None:
        async with AsyncClient(triton.address) as client:
            asking = asyncio.ensure_future(client.infer("iris", ONE_ROW))
            while not triton.taken["ModelInfer"]:
                await asyncio.sleep(0.005)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert await asyncio.to_thread(triton.cancelled.wait, 10)

    asyncio.run(abandon())


def test_the_first_failing_part_cancels_the_others(triton: InProcessTriton) -> None:
    fake = triton.models

    async def last_part_fails(request: object, context: grpc.aio.ServicerContext) -> None:
        if request.inputs[0].shape[0] == 64:  # type: ignore[attr-defined]
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                triton.cancelled.set()
                raise
        await context.abort(Status.INVALID_ARGUMENT, "no")

    triton.scripts["ModelInfer"] = last_part_fails
    with Client(triton.address) as client, pytest.raises(errors.InvalidInput, match=r"^no$"):
        client.predict("iris", [IRIS_ROW] * 100)
    assert triton.cancelled.wait(10)
    assert fake.closed is False


def test_nothing_listening_is_told_at_once_and_not_at_the_deadline() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with Client(address, deadline_s=600) as client:
            with pytest.raises(errors.ServerUnavailable) as refused:
                client.predict("iris", [IRIS_ROW])
            assert not client.live() and not client.model_ready("iris")
    assert str(refused.value) == f"no Triton answers at {address} (connection refused); start one with: slipway up"


def test_a_port_that_speaks_something_else_is_told() -> None:
    import http.server
    import threading

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    with Client(address, deadline_s=20) as client, pytest.raises(errors.SlipwayError) as refused:
        client.index()
    server.shutdown()
    server.server_close()
    assert isinstance(refused.value, errors.ServerUnavailable)
    assert f"no Triton answers at {address} (" in str(refused.value)


def test_a_server_that_comes_back_is_found_again(triton: InProcessTriton, client: Client) -> None:
    port = int(triton.address.rpartition(":")[2])
    assert client.live()
    triton.stop()
    assert not client.live()
    triton.start(port)
    deadline = time.monotonic() + 10
    while not client.live():
        assert time.monotonic() < deadline
    assert client.predict("iris", [IRIS_ROW]).version == "1"


def test_a_broken_connection_is_told_and_the_request_is_not_sent_again(triton: InProcessTriton, client: Client) -> None:
    triton.hang("ModelInfer")

    async def cut() -> errors.SlipwayError:
        async with AsyncClient(triton.address) as client:
            asking = asyncio.ensure_future(client.infer("iris", ONE_ROW))
            while not triton.taken["ModelInfer"]:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(triton.stop)
            with pytest.raises(errors.SlipwayError) as broken:
                await asking
            return broken.value

    port = int(triton.address.rpartition(":")[2])
    assert isinstance(asyncio.run(cut()), errors.SlipwayError)
    assert triton.taken["ModelInfer"] == 1
    triton.start(port)


def test_messages_of_many_megabytes_pass(triton: InProcessTriton, client: Client) -> None:
    config = triton.models.models["iris"].config
    big = type(config)(name="big", max_batch_size=0)
    triton.models.models["big"] = type(triton.models.models["iris"])(big, lambda tensors: {"y": tensors["x"]})
    sent = np.arange(8_000_000, dtype=np.float32)
    assert np.array_equal(client.infer("big", {"x": sent}).tensors["y"], sent)


def test_a_client_belongs_to_one_event_loop_and_says_so(triton: InProcessTriton) -> None:
    client = AsyncClient(triton.address)
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.live())
    with pytest.raises(RuntimeError, match="first used in another event loop"):
        asyncio.run(client.index())
    loop.run_until_complete(client.aclose())
    loop.close()
