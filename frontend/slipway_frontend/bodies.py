"""Request bodies: read whole, and parsed with messages that a person can act on."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from slipway_core.errors import InvalidInput
from slipway_frontend.errors import UnsupportedContent

# What `curl -d` and `curl --data-binary` say when nobody told them better.
UNSPECIFIED = ("", "application/x-www-form-urlencoded")


def content_type(request: Request) -> str:
    """The media type without its parameters, in lower case; empty when none was sent."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, hint: str) -> bytes:
    """The whole body. Raises :class:`InvalidInput` with the hint when it is empty."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise UnsupportedContent(f"content encoding {coding!r}", "the body as it is")
    body = await request.body()
    if not body:
        raise InvalidInput(f"the body is empty; send {hint}")
    return body


def as_text(body: bytes) -> str:
    """UTF-8, with or without a byte order mark."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise InvalidInput(
            f"the body is not UTF-8 text: byte 0x{e.object[e.start]:02x} at position {e.start}"
        ) from None


def as_json(body: bytes) -> Any:
    """Parsed JSON; NaN and infinities are let through, because who reads the numbers can name their place.

    Raises :class:`InvalidInput` that says where the JSON ends to be one.
    """
    text = as_text(body)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as e:
        where = f"line {e.lineno} column {e.colno} (position {e.pos})"
        raise InvalidInput(f"the body is not JSON: {e.msg} at {where}") from None
    except RecursionError:
        raise InvalidInput("the body is not acceptable JSON: it is nested too deeply") from None
    except ValueError as e:  # an integer of thousands of digits
        raise InvalidInput(f"the body is not acceptable JSON: {str(e).partition(';')[0]}") from None
    if "\\ud" in text or "\\uD" in text:
        _refuse_lone_surrogates(value)
    return value


def _refuse_lone_surrogates(value: Any) -> None:
    """Half a surrogate pair can be written in JSON, and in no text that goes on to Triton."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as e:
        raise InvalidInput(
            f"the body is not acceptable JSON: a string holds half a surrogate pair (\\u{ord(e.object[e.start]):04x})"
        ) from None
