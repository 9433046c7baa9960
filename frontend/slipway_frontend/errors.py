"""Every failure as one HTTP status and one line. The only place that knows HTTP's codes for slipway's errors."""

from __future__ import annotations

import logging
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from slipway_core.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    SlipwayError,
    UnsupportedByServer,
    WorkerDied,
    WrongTask,
)
from slipway_frontend.answers import error_answer

log = logging.getLogger("slipway.frontend")


class TooLarge(SlipwayError):
    """A request beyond one of the frontend's limits; ``setting`` is the environment variable that raises it.

    ``cut`` says that the rest of the request is not worth reading: the connection ends with the answer.
    """

    def __init__(self, what: str, limit: str, setting: str, cut: bool = False) -> None:
        super().__init__(what, limit, setting, cut)
        self.what, self.limit, self.setting, self.cut = what, limit, setting, cut

    def __str__(self) -> str:
        return f"{self.what} than the {self.limit} taken in one call; send less, or raise {self.setting}"


class TooSlow(SlipwayError):
    """A body that did not arrive in time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self.timeout_s = timeout_s

    def __str__(self) -> str:
        return (
            f"the request did not arrive within {self.timeout_s:g} s; send less or faster, "
            "or raise SLIPWAY_RECEIVE_TIMEOUT_S"
        )


class NoRoom(SlipwayError):
    """The bodies of all requests together fill what they may; later there is room again."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.max_bytes = max_bytes

    def __str__(self) -> str:
        return (
            f"the bodies of the requests in work fill the {self.max_bytes} bytes they may take together; "
            "try again, or raise SLIPWAY_MAX_HELD_BYTES"
        )


class UnsupportedContent(SlipwayError):
    """A body in a form that the route does not read."""

    def __init__(self, given: str, accepted: str) -> None:
        super().__init__(given, accepted)
        self.given, self.accepted = given, accepted

    def __str__(self) -> str:
        return f"{self.given} is not read here; send {self.accepted}"


# The class itself or the nearest of its bases decides.
STATUS: dict[type[SlipwayError], int] = {
    InvalidInput: 400,
    WrongTask: 400,
    ModelNotFound: 404,
    TooSlow: 408,
    TooLarge: 413,
    UnsupportedContent: 415,
    InferenceFailed: 500,
    UnsupportedByServer: 501,
    NoRoom: 503,
    Overloaded: 503,
    ServerUnavailable: 503,
    WorkerDied: 503,
    DeadlineExceeded: 504,
    SlipwayError: 500,
}
RETRY_AFTER_S: dict[type[SlipwayError], int] = {NoRoom: 1, Overloaded: 1, ServerUnavailable: 2, WorkerDied: 5}


def status_of(error: SlipwayError) -> int:
    """The HTTP status for an error of slipway's tree."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def told(error: SlipwayError, triton: str) -> str:
    """The error as a client is told it: where Triton is concerns the operator alone."""
    if isinstance(error, ServerUnavailable):
        return "Triton is not reachable; try again in a few seconds, or ask who runs this server to look at its log"
    return str(error).replace(f" at {triton}", "")


def answer_for(error: SlipwayError, triton: str) -> Response:
    """The answer that tells a client of an error; ``triton`` is the address that it must not name."""
    headers: dict[str, str] = {}
    if type(error) in RETRY_AFTER_S:
        headers["Retry-After"] = str(RETRY_AFTER_S[type(error)])
    if isinstance(error, TooSlow) or (isinstance(error, TooLarge) and error.cut):
        headers["Connection"] = "close"
    if isinstance(error, ServerUnavailable):
        log.warning("%s", error)
    return error_answer(status_of(error), told(error, triton), headers)


def register(app: FastAPI, triton: str) -> None:
    """Have ``app`` answer every error in the one form there is, without the address of its Triton."""

    async def slipway_error(_: Request, error: Exception) -> Response:
        return answer_for(cast(SlipwayError, error), triton)

    async def http_error(request: Request, error: Exception) -> Response:
        return _http_answer(request, cast(HTTPException, error))

    async def invalid_query(_: Request, error: Exception) -> Response:
        return error_answer(400, _first_complaint(cast(RequestValidationError, error)))

    app.add_exception_handler(SlipwayError, slipway_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid_query)


def _http_answer(request: Request, error: HTTPException) -> Response:
    message = str(error.detail)
    if error.status_code == 404:
        message = f"there is no {request.method} {_shortened(request.url.path)}; the routes are listed at /docs"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not allowed on {_shortened(request.url.path)}; use {allowed}"
    return error_answer(error.status_code, message, error.headers)


def _shortened(path: str) -> str:
    return path if len(path) <= 100 else path[:100] + "..."


def _first_complaint(error: RequestValidationError) -> str:
    first: dict[str, Any] = error.errors()[0]
    where, name = first["loc"][0], first["loc"][-1]
    return f"{where} parameter {name!r}: {first['msg']}, got {_shortened(str(first['input']))!r}"
