"""Connections that bring no request, or not a whole one: each is answered in JSON, and none is waited for for ever."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.client import in_process_triton
from support.frontend import FrontendProcess, fake_triton, frontend_process

HEAD = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: frontend\r\n"
LATE = "the request did not arrive within 0.5 s; send "


@pytest.fixture(scope="module")
def frontend() -> Iterator[FrontendProcess]:
    with (
        in_process_triton(fake_triton()) as triton,
        frontend_process(triton.address, SLIPWAY_RECEIVE_TIMEOUT_S="0.5") as process,
    ):
        yield process


def answers(connection: socket.socket) -> bytes:
    """Everything that comes until the frontend ends the connection."""
    answer = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


def is_well(connection: socket.socket, more_headers: bytes = b"") -> bool:
    """Whether a request is answered and the connection stays open; no byte of the answer is left in it."""
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: frontend\r\n" + more_headers + b"\r\n")
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        part = connection.recv(65536)
        assert part, answer
        answer += part
    return answer.startswith(b"HTTP/1.1 200 ")


def error_of(answer: bytes, status: int) -> str:
    head, _, body = answer.rpartition(b"\r\n\r\n")
    lines = head.lower().splitlines()
    assert lines[0].startswith(b"http/1.1 %d " % status), answer
    assert {b"content-type: application/json", b"connection: close"} <= set(lines)
    assert any(line.startswith(b"x-request-id: ") for line in lines)
    return json.loads(body)["error"]


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["text", "tls", "http2", "no-path", "two-lengths", "chunk"],
)
def test_what_is_no_http_is_refused_like_everything_else(frontend: FrontendProcess, sent: bytes) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(sent)
        assert error_of(answers(connection), 400) == (
            "this is not valid HTTP/1.1, the only protocol that is spoken on this port"
        )


def test_a_head_brings_no_body(frontend: FrontendProcess) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: frontend\r\nConnection: close\r\n\r\n")
        head, _, body = answers(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ") and b"\r\ncontent-length: 15" in head
    assert body == b""


@pytest.mark.parametrize(
    "sent",
    [
        HEAD,
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        HEAD.replace(b"predict", b"classify") + b"Content-Type: image/png\r\nContent-Length: 9\r\n\r\n",
    ],
    ids=["head", "length", "chunked", "image"],
)
def test_a_client_that_stalls_is_cut_off_with_a_408(frontend: FrontendProcess, sent: bytes) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(sent)
        assert error_of(answers(connection), 408).startswith(LATE)


@pytest.mark.parametrize(
    ("head", "drop"), [(HEAD, b"X: 1\r\n"), (HEAD + b"Content-Length: 100000\r\n\r\n", b" ")], ids=["head", "body"]
)
def test_a_client_that_trickles_is_cut_off_with_a_408(frontend: FrontendProcess, head: bytes, drop: bytes) -> None:
    with socket.create_connection(frontend.address, timeout=0.02) as connection:
        connection.sendall(head)
        deadline, answer = time.monotonic() + 10, b""
        while not answer:
            assert time.monotonic() < deadline, "the frontend still waits"
            with suppress(TimeoutError):
                answer = connection.recv(65536)
            with suppress(ConnectionError, TimeoutError):
                connection.sendall(drop)
        connection.settimeout(10)
        answer += answers(connection)
    assert error_of(answer, 408).startswith(LATE)


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "blank"])
def test_a_connection_without_a_request_is_closed(frontend: FrontendProcess, sent: bytes) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(sent)
        assert answers(connection) == b""


def test_the_next_request_of_a_connection_has_no_more_time_than_the_first(frontend: FrontendProcess) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        assert is_well(connection)
        connection.sendall(HEAD)
        assert error_of(answers(connection), 408).startswith(LATE)


def test_what_still_comes_after_an_answer_is_not_read_for_ever(frontend: FrontendProcess) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        assert is_well(connection, b"Content-Length: 100000\r\n")
        connection.sendall(b" ")
        assert answers(connection) == b""


def test_an_idle_connection_is_kept_for_its_next_request(frontend: FrontendProcess) -> None:
    with (
        socket.create_connection(frontend.address, timeout=10) as idle,
        socket.create_connection(frontend.address, timeout=10) as stalled,
    ):
        assert is_well(idle)
        stalled.sendall(HEAD)  # when this one is cut off, the idle one has waited as long
        assert error_of(answers(stalled), 408)
        assert is_well(idle)


def test_a_head_without_end_is_refused(frontend: FrontendProcess) -> None:
    with socket.create_connection(frontend.address, timeout=10) as connection:
        connection.sendall(HEAD + b"X-Long: " + b"x" * 65_000)
        connection.sendall(b"x" * 1_000)
        assert error_of(answers(connection), 431) == (
            "the request's head is larger than 65536 bytes; send fewer or shorter headers"
        )
