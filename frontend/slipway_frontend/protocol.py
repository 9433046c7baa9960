"""uvicorn's HTTP/1.1 connection, with JSON for what never becomes a request, and an end to waiting for one."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
log = logging.getLogger("slipway.frontend")


class Connection(HttpToolsProtocol):
    """Ends a connection that brings no whole request head within ``receive_timeout_s`` or 64 KiB.

    Idle connections between two requests are uvicorn's to end. A request costs one look at its state.
    """

    receive_timeout_s = 60.0
    _waiting: asyncio.TimerHandle | None = None
    _unanswered_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the clock for the first request."""
        super().connection_made(transport)
        self._waiting = self.loop.call_later(self.receive_timeout_s, self._waited)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; the clock runs while it is not, or not yet, a request."""
        super().data_received(data)
        if self._at_work():
            if self._waiting is not None:
                self._stop_waiting()
            return
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.receive_timeout_s, self._waited)
        self._unanswered_bytes += len(data)
        if self._head_begun() and self._unanswered_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(
                431, f"the request's head is larger than {MAX_HEAD_BYTES} bytes; send fewer or shorter headers"
            )

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; uvicorn's own text says no more than that."""
        self._refuse(400, "this is not valid HTTP/1.1, the only protocol that is spoken on this port")

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered over HTTP/1.1; uvicorn would log for each what to install for websockets."""

    # uvicorn annotates neither as what they are before the first request: None.
    def _at_work(self) -> bool:
        """Whether the last bytes belonged to a request that is being answered."""
        begun = self.cycle is not None  # pyright: ignore[reportUnnecessaryComparison]
        return begun and not self.cycle.response_complete and "method" in self.scope

    def _head_begun(self) -> bool:
        begun = self.scope is not None  # pyright: ignore[reportUnnecessaryComparison]
        return begun and "method" not in self.scope

    def _waited(self) -> None:
        self._waiting = None
        if self.transport.is_closing():
            return
        if self._head_begun():
            self._refuse(
                408,
                f"the request did not arrive within {self.receive_timeout_s:g} s; send faster, "
                "or raise SLIPWAY_RECEIVE_TIMEOUT_S",
            )
        else:  # not a byte of a request: nobody waits for an answer
            self.transport.close()

    def _stop_waiting(self) -> None:
        self._unanswered_bytes = 0
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _refuse(self, status: int, message: str) -> None:
        request_id = uuid.uuid4().hex
        body = json.dumps({"error": message}, separators=(",", ":"))
        log.info("a connection without a valid request %d %s", status, request_id)
        self.transport.write(
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}".encode("ascii")
        )
        self.transport.close()


def connections(receive_timeout_s: float) -> type[Connection]:
    """The class that uvicorn makes a connection of; uvicorn has no place for settings of its own."""
    return type("Connection", (Connection,), {"receive_timeout_s": receive_timeout_s})
