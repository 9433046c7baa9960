"""``python -m slipway_frontend`` as an operator starts, asks and stops it, with a Triton made of Python behind it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from support.client import InProcessTriton, in_process_triton
from support.frontend import COMMAND, IRIS_ROW, FrontendProcess, fake_triton, frontend_process

PREDICT = "/v1/models/iris/predict"


@pytest.fixture(scope="module")
def triton() -> Iterator[InProcessTriton]:
    with in_process_triton(fake_triton()) as triton:
        yield triton


@pytest.fixture(scope="module")
def frontend(triton: InProcessTriton) -> Iterator[FrontendProcess]:
    with frontend_process(triton.address, SLIPWAY_MAX_TEXT_BYTES="100000") as process:
        yield process


def test_port_zero_takes_a_free_one_and_prints_it(frontend: FrontendProcess, triton: InProcessTriton) -> None:
    assert re.fullmatch(
        rf"slipway frontend on http://127\.0\.0\.1:\d+ \(Triton at {triton.address}\)\n", frontend.announced
    )
    answer = httpx.post(frontend.url + PREDICT, json={"rows": [IRIS_ROW]})
    assert answer.json()["predictions"][0]["label"] == "setosa"


def raw(frontend: FrontendProcess, request: bytes) -> tuple[int, str]:
    """Status and body of an answer to bytes that no client library would send."""
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/models/..", "no model '..' is served; available: digits, iris"),
        ("/v1/models/../../etc/passwd", "there is no GET /v1/models/../../etc/passwd; the routes are listed at /docs"),
        ("/v1/models/..%2f..%2fetc", "there is no GET /v1/models/../../etc; the routes are listed at /docs"),
        ("/v2/models/../config", "no model '..' is served; available: digits, iris"),
        ("/v2/models/%2e%2e", "no model '..' is served; available: digits, iris"),
        ("/v1/models/a%0d%0ab", "no model 'a\\\\r\\\\nb' is served; available: digits, iris"),
        ("//v1/models", "there is no GET //v1/models; the routes are listed at /docs"),
        ("/v1/models/" + "n" * 10_240, f"no model '{'n' * 80}...' is served; available: digits, iris"),
    ],
)
def test_no_trick_with_a_path_is_more_than_a_404(frontend: FrontendProcess, path: str, message: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: frontend\r\nConnection: close\r\n\r\n"
    assert raw(frontend, request.encode()) == (404, f'{{"error":"{message}"}}')


def test_a_body_without_end_is_cut_off(frontend: FrontendProcess) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    with suppress(httpx.TransportError):  # some clients see the answer, some only that the connection ended
        assert httpx.post(frontend.url + PREDICT, content=endless()).status_code == 413


def test_a_chunked_body_a_little_beyond_the_limit_gets_its_answer(frontend: FrontendProcess) -> None:
    answer = httpx.post(frontend.url + PREDICT, content=(b"x" * 10_000 for _ in range(15)))
    assert answer.status_code == 413
    assert answer.json() == {
        "error": "the body is larger than the 100000 bytes taken in one call; "
        "send less, or raise SLIPWAY_MAX_TEXT_BYTES"
    }


def test_a_body_that_is_announced_too_large_is_refused_and_the_next_request_is_served(
    frontend: FrontendProcess,
) -> None:
    with httpx.Client(base_url=frontend.url) as client:
        assert client.post(PREDICT, content=b"x" * 199_000).status_code == 413
        assert client.post(PREDICT, json={"rows": [IRIS_ROW]}).status_code == 200


def test_a_triton_that_hangs_is_a_504_at_the_deadline(triton: InProcessTriton) -> None:
    with frontend_process(triton.address, SLIPWAY_DEADLINE_S="0.3") as frontend:
        triton.hang("ModelInfer")
        try:
            answer = httpx.post(frontend.url + PREDICT, json={"rows": [IRIS_ROW]})
        finally:
            triton.scripts.clear()
        assert (answer.status_code, answer.json()) == (504, {"error": "model 'iris' did not answer within 0.3 s"})
        assert httpx.post(frontend.url + PREDICT, json={"rows": [IRIS_ROW]}).status_code == 200


def test_no_triton_is_a_503_with_the_remedy_and_no_reason_to_restart_the_frontend() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with frontend_process(address) as frontend:
            answer = httpx.post(frontend.url + PREDICT, json={"rows": [IRIS_ROW]})
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "2"
            assert answer.json()["error"].startswith("Triton is not reachable; ")
            assert address not in answer.text
            assert httpx.get(f"{frontend.url}/readyz").status_code == 503
            assert httpx.get(f"{frontend.url}/healthz").status_code == 200
            frontend.process.terminate()
            assert f"no Triton answers at {address} (connection refused)" in frontend.process.communicate()[1]


def test_readiness_tells_of_a_triton_that_hangs_before_the_probes_own_patience_ends() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        frontend_process(f"127.0.0.1:{silent.getsockname()[1]}") as frontend,
    ):
        answer = httpx.get(f"{frontend.url}/readyz", timeout=20)
    assert (answer.status_code, answer.json()) == (
        503,
        {"error": "Triton did not answer within 2 s", "ready": False, "models": []},
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_request_in_flight_finish(how: signal.Signals) -> None:
    released = threading.Event()

    def answer(tensors: dict[str, object]) -> object:
        released.wait(10)
        return slow_model.answer(tensors)  # type: ignore[arg-type]

    models = fake_triton()
    slow_model = models.models["iris"]
    models.models["iris"] = type(slow_model)(slow_model.config, answer)  # type: ignore[arg-type]
    with in_process_triton(models) as triton, frontend_process(triton.address) as frontend:
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(frontend.url + PREDICT, json={"rows": [IRIS_ROW]}))
        )
        asking.start()
        wait_for(lambda: triton.taken["ModelInfer"] == 1)
        frontend.process.send_signal(how)
        wait_for(lambda: refuses(frontend.address))
        released.set()
        asking.join(10)
        assert answers[0].status_code == 200
        assert frontend.process.wait(5) == 0
        _, complaints = frontend.process.communicate()
        assert "Traceback" not in complaints


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return True
    return False


def test_a_request_that_never_ends_does_not_hold_up_the_end(triton: InProcessTriton) -> None:
    triton.hang("ModelInfer")
    try:
        with (
            frontend_process(triton.address, SLIPWAY_DRAIN_S="1") as frontend,
            httpx.Client(base_url=frontend.url) as client,
        ):
            before = triton.taken["ModelInfer"]
            answers: list[httpx.Response] = []
            asking = threading.Thread(target=lambda: answers.append(client.post(PREDICT, json={"rows": [IRIS_ROW]})))
            asking.start()
            wait_for(lambda: triton.taken["ModelInfer"] > before)
            frontend.process.terminate()
            assert frontend.process.wait(5) == 0
            assert "Traceback" not in frontend.process.communicate()[1]
            asking.join(5)
            assert answers[0].status_code == 503
            told = "the frontend is shutting down and could not wait for the answer"
            assert answers[0].json() == {"error": told}
    finally:
        triton.scripts.clear()


def test_an_upgrade_is_answered_as_plain_http_and_logs_no_advice_of_others(triton: InProcessTriton) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    with frontend_process(triton.address) as frontend:
        assert httpx.get(f"{frontend.url}/v1/models/iris", headers=upgrade).status_code == 200
        frontend.process.terminate()
        logged = frontend.process.communicate(timeout=10)[1]
    assert re.fullmatch(r"\S+ \S+ INFO GET '/v1/models/iris' 200 \S+ ms \w+\n", logged), logged


def test_half_a_body_takes_memory_until_its_client_is_gone(triton: InProcessTriton) -> None:
    limits = {f"SLIPWAY_MAX_{what}_BYTES": "200000" for what in ("HELD", "TEXT", "BINARY")}

    def answered() -> int:
        return httpx.post(f"{frontend.url}/v1/models/digits/classify", content=b"\x89PNG".ljust(200_000)).status_code

    with frontend_process(triton.address, **limits) as frontend:
        assert answered() == 200
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: frontend\r\nContent-Length: 200000\r\n\r\n"
        with socket.create_connection(frontend.address, timeout=10) as connection:
            connection.sendall(head.encode() + b" " * 100_000)
            wait_for(lambda: answered() == 503)
        wait_for(lambda: answered() == 200)


def test_a_port_in_use_is_one_clear_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"slipway frontend: the frontend cannot listen on 127.0.0.1:{port} (Address already in use); "
        "stop what uses the port, or set SLIPWAY_HOST and SLIPWAY_HTTP_PORT\n"
    )
