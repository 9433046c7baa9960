"""The two faces of the client, what they list, and what ends them."""

from __future__ import annotations

import asyncio
import inspect
import math
import multiprocessing
import re
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import slipway_client
from slipway_client import AsyncClient, Client, FakeTransport, GrpcTransport, ModelState
from slipway_core.errors import InvalidInput, ModelNotFound, RepositoryBroken, UnsupportedByServer
from support.frontend import IRIS_ROW, fake_triton


@pytest.fixture
def triton() -> FakeTransport:
    return fake_triton()


@pytest.fixture
def client(triton: FakeTransport) -> Iterator[Client]:
    with Client(triton) as client:
        yield client


def test_everything_promised_can_be_imported() -> None:
    assert all(hasattr(slipway_client, name) for name in slipway_client.__all__)
    assert len(set(slipway_client.__all__)) == len(slipway_client.__all__)


def test_both_faces_have_the_same_methods_with_the_same_signatures() -> None:
    waiting = {name for name, _ in inspect.getmembers(AsyncClient, inspect.iscoroutinefunction) if name[0] != "_"}
    for name in sorted(waiting - {"aclose", "call"}):
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__ == theirs.__doc__


def test_the_asynchronous_face_is_awaited(triton: FakeTransport) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(triton) as client:
            results = await asyncio.gather(*(client.predict("iris", [IRIS_ROW]) for _ in range(10)))
            return [result.predictions[0].label for result in results]  # type: ignore[union-attr]

    assert asyncio.run(ask()) == ["setosa"] * 10


def test_one_synchronous_client_serves_many_threads(client: Client) -> None:
    answers: list[str] = []

    def ask() -> None:
        answers.extend(client.predict("iris", [IRIS_ROW]).version for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["1"] * 400


def test_a_closed_client_says_so(triton: FakeTransport) -> None:
    client = Client(triton)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match=r"^this Client is closed; make a new one$"):
        client.live()


def test_a_closed_asynchronous_client_says_so() -> None:
    async def ask() -> None:
        client = AsyncClient(GrpcTransport("127.0.0.1:1"))
        await client.aclose()
        await client.index()

    with pytest.raises(RuntimeError, match=r"^this client is closed; make a new one$"):
        asyncio.run(ask())


def test_a_forgotten_client_ends_its_thread(triton: FakeTransport) -> None:
    before = threading.active_count()
    client = Client(triton)
    assert threading.active_count() == before + 1
    del client
    assert threading.active_count() == before


def _live_after_fork(client: Client, told: multiprocessing.Queue[str]) -> None:
    try:
        client.live()
    except RuntimeError as e:
        told.put(str(e))


def test_a_client_from_before_a_fork_says_so_instead_of_hanging(client: Client) -> None:
    fork = multiprocessing.get_context("fork")
    told = fork.Queue()
    child = fork.Process(target=_live_after_fork, args=(client, told))
    child.start()
    assert told.get(timeout=10) == "this Client was made before a fork; make a new one in this process"
    child.join(10)
    assert client.live()


@pytest.mark.parametrize("given", [0, -1, math.inf, math.nan, 1e-9, 1e12])
def test_a_deadline_is_a_time_that_a_call_can_wait(triton: FakeTransport, client: Client, given: float) -> None:
    refusal = re.escape(f"deadline_s must be a number of seconds from 0.001 to 1000000, got {given:g}")
    with pytest.raises(InvalidInput, match=f"^{refusal}$"):
        Client(triton, deadline_s=given)
    with pytest.raises(InvalidInput, match=f"^{refusal}$"):
        client.load("iris", deadline_s=given)


def test_a_name_that_is_no_utf8_is_a_model_that_nobody_has(client: Client) -> None:
    assert not client.model_ready("iris\udcff")
    with pytest.raises(ModelNotFound, match=r"^no model 'iri.*available: digits, iris$"):
        client.predict("iri\udcff", [IRIS_ROW])
    with pytest.raises(RepositoryBroken):
        client.load("iri\udcff")


def test_text_that_no_utf8_can_hold_is_refused_with_its_tensor(client: Client) -> None:
    half = np.array([["\ud800"]], dtype=np.object_)
    with pytest.raises(InvalidInput, match=r"^'city' holds half a surrogate pair \(\\ud800\)"):
        client.infer("iris", {"city": half})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("localhost", "localhost:8001"),
        ("10.0.0.7:9001", "10.0.0.7:9001"),
        ("grpc://triton:8001/", "triton:8001"),
        ("[::1]:8001", "[::1]:8001"),
        (" triton ", "triton:8001"),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(given: str, meant: str) -> None:
    assert GrpcTransport(given).address == meant


@pytest.mark.parametrize("given", ["", "http://localhost:8000", "localhost:", "host:0", "host:99999", "::1", "a b:1"])
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        GrpcTransport(given)
    assert str(refused.value) == (
        f"{given!r} is no address of a Triton's gRPC port; give host:port, such as 127.0.0.1:8001"
    )


def test_models_are_listed_by_name_with_their_cards_and_live_versions(client: Client, triton: FakeTransport) -> None:
    triton.models["iris"] = replace(triton.models["iris"], versions=("2", "10"))
    digits, iris = client.models()
    assert (digits.name, digits.image is not None, digits.labels[7]) == ("digits", True, "7")
    assert (iris.name, iris.versions, iris.max_batch_size) == ("iris", ("2", "10"), 64)
    assert [feature.unit for feature in iris.features] == ["cm"] * 4


def test_an_unreadable_card_hides_no_other_model(client: Client, triton: FakeTransport) -> None:
    config = type(triton.models["iris"].config)(name="odd")
    config.parameters["slipway.task"].string_value = "fortune telling"
    triton.models["odd"] = replace(triton.models["iris"], config=config)
    digits, iris, odd = client.models()
    assert (digits.has_card, iris.has_card, odd.has_card) == (True, True, False)
    assert "unknown task 'fortune telling'" in odd.description


def test_the_index_tells_every_state_and_its_reason(client: Client, triton: FakeTransport) -> None:
    triton.unready["iris"] = "unloaded"
    assert client.index() == [
        ModelState("digits", "1", "READY", ""),
        ModelState("iris", "1", "UNAVAILABLE", "unloaded"),
    ]
    assert [model.name for model in client.models()] == ["digits"]
    assert client.model_ready("digits") and not client.model_ready("iris") and not client.model_ready("no")


def test_a_model_is_unloaded_and_loaded_again(client: Client) -> None:
    client.unload("iris")
    assert not client.model_ready("iris")
    client.load("iris")
    assert client.model_ready("iris")


def test_a_model_that_triton_cannot_load_is_a_broken_repository(client: Client) -> None:
    with pytest.raises(RepositoryBroken) as refused:
        client.load("iris2")
    assert str(refused.value) == "iris2: failed to poll from model repository"


def test_a_call_that_a_server_lacks_is_unsupported(triton: FakeTransport) -> None:
    from google.protobuf.empty_pb2 import Empty

    from slipway_client import Rpc

    async def ask() -> None:
        await AsyncClient(triton).call(Rpc("TraceSetting", Empty, Empty), Empty())

    with pytest.raises(UnsupportedByServer, match=r"^Triton at fake:0 does not support TraceSetting$"):
        asyncio.run(ask())
