"""What wraps every request: its id, its line in the log, the body limit, and the last resort for a bug."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_frontend.answers import error_answer
from slipway_frontend.errors import TooLarge

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUIET = ("/healthz", "/readyz")
log = logging.getLogger("slipway.frontend")


class Edge:
    """The outermost layer of the app, as plain ASGI so that it also sees what the framework answers by itself."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with an id and a bounded body; a bug becomes a 500 that hides its traceback."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(scope, send, request_id)
        try:
            await self._app(scope, self._bounded(scope, receive), exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to be told; the log has its line
        except Exception:
            log.exception("request %s failed", request_id)
            if exchange.status:  # half an answer is out; only breaking the connection can tell the client
                raise
            message = f"internal error; the frontend's log tells more under request id {request_id}"
            await error_answer(500, message)(scope, receive, exchange.send)
        except asyncio.CancelledError:  # the drain at the end of the process is over
            if not exchange.status:
                message = "the frontend is shutting down and could not wait for the answer"
                await error_answer(503, message, {"Connection": "close"})(scope, receive, exchange.send)
        finally:
            exchange.write_log()

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """``receive`` that raises :class:`TooLarge` as soon as the body is known to pass the limit."""
        limit, taken = self._max_body_bytes, 0
        announced = _announced_bytes(Headers(scope=scope))

        async def bounded() -> Message:
            nonlocal taken
            if announced > limit:
                raise _too_large(limit, cut=announced > 2 * limit)
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _too_large(limit, cut=not await _drained(message, receive, limit))
            return message

        return bounded


class _Exchange:
    """One request and its answer on the way out."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope, self._send, self._request_id = scope, send, request_id
        self._started_s = time.monotonic()
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
        await self._send(message)

    def write_log(self) -> None:
        path = self._scope["path"]
        level = logging.WARNING if self.status >= 500 else logging.DEBUG if path in _QUIET else logging.INFO
        if log.isEnabledFor(level):
            took_ms = (time.monotonic() - self._started_s) * 1000
            # %a: a path may hold anything, and a log line is one line.
            log.log(
                level,
                "%s %a %s %.1f ms %s",
                self._scope["method"],
                path[:200],
                self.status or "aborted",
                took_ms,
                self._request_id,
            )


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _announced_bytes(headers: Headers) -> int:
    announced = headers.get("content-length", "")
    return int(announced) if announced.isdecimal() and len(announced) < 20 else 0


async def _drained(message: Message, receive: Receive, most: int) -> bool:
    """Read on to the end of a body, which many clients reach before they read an answer; False if it is too far."""
    while message.get("more_body", False) and most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
    return not message.get("more_body", False)


def _too_large(limit: int, cut: bool) -> TooLarge:
    return TooLarge("the body is larger", f"{limit} bytes", "SLIPWAY_MAX_BODY_BYTES", cut)
