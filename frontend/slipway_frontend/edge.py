"""What wraps every request: its id, its line in the log, limits of all together, and the last resort for a bug."""

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
from slipway_frontend.memory import Memory

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_PROBES = ("/healthz", "/readyz")
log = logging.getLogger("slipway.frontend")


class Edge:
    """The outermost layer of the app, as plain ASGI so that it also sees what the framework answers by itself."""

    def __init__(self, app: ASGIApp, max_requests: int, max_held_bytes: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._in_work = 0
        self._memory = Memory(max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with an id; a bug becomes a 500 that hides its traceback."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, _request_id(Headers(scope=scope)))
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        self._in_work += 1
        try:
            if self._in_work > self._max_requests and scope["path"] not in _PROBES:
                await self._busy()(scope, receive, exchange.send)
            else:
                await self._passed_on(scope, receive, exchange.send)
        except ClientDisconnect:
            pass  # nobody is left to be told; the log has its line
        except Exception:
            log.exception("request %s failed", exchange.request_id)
            if exchange.status:  # half an answer is out; only breaking the connection can tell the client
                raise
            message = f"internal error; the frontend's log tells more under request id {exchange.request_id}"
            await error_answer(500, message)(scope, receive, exchange.send)
        except asyncio.CancelledError:  # the drain at the end of the process is over
            if not exchange.status:
                message = "the frontend is shutting down and could not wait for the answer"
                await error_answer(503, message, {"Connection": "close"})(scope, receive, exchange.send)
        finally:
            self._in_work -= 1
            exchange.write_log()

    async def _passed_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """HEAD is asked as GET; the server, which still knows it as HEAD, sends no body."""
        with self._memory.share() as share:
            scope["state"]["memory"] = share
            await self._app({**scope, "method": "GET"} if scope["method"] == "HEAD" else scope, receive, send)

    def _busy(self) -> ASGIApp:
        message = (
            f"the frontend is at work on {self._max_requests} requests and takes no more now; "
            "try again, or raise SLIPWAY_MAX_REQUESTS"
        )
        # Its body is not read: the connection ends, so that nobody pays for it.
        return error_answer(503, message, {"Retry-After": "1", "Connection": "close"})


class _Exchange:
    """One request and its answer on the way out."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status = 0
        self._scope, self._send = scope, send
        self._started_s = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self.request_id
        await self._send(message)

    def write_log(self) -> None:
        path = self._scope["path"]
        level = logging.WARNING if self.status >= 500 else logging.DEBUG if path in _PROBES else logging.INFO
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
                self.request_id,
            )


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
