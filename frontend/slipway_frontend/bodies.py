"""Request bodies as they arrive: only so many bytes, of one and of all together, and within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from slipway_core.errors import InvalidInput
from slipway_frontend.errors import TooLarge, TooSlow, UnsupportedContent
from slipway_frontend.memory import Share
from slipway_frontend.settings import Settings

# What `curl -d` and `curl --data-binary` say when nobody told them better.
UNSPECIFIED = ("", "application/x-www-form-urlencoded")


def content_type(request: Request) -> str:
    """The media type without its parameters, in lower case; empty when none was sent."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Intake:
    """How large a body is taken, the setting that raises this, and how long a client may take to send it."""

    max_bytes: int
    setting: str
    timeout_s: float

    @classmethod
    def of_text(cls, settings: Settings) -> Intake:
        """For JSON and CSV, which cost many times their size once they are taken apart."""
        return cls(settings.max_text_bytes, "SLIPWAY_MAX_TEXT_BYTES", settings.receive_timeout_s)

    @classmethod
    def of_binary(cls, settings: Settings) -> Intake:
        """For images, which go on as they are."""
        return cls(settings.max_binary_bytes, "SLIPWAY_MAX_BINARY_BYTES", settings.receive_timeout_s)

    async def read(self, request: Request, hint: str) -> bytes:
        """The whole body. Raises :class:`InvalidInput` with the hint when it is empty, else as :meth:`parts`."""
        coding = request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise UnsupportedContent(f"content encoding {coding!r}", "the body as it is")
        body = b"".join([part async for part in self.parts(request)])
        if not body:
            raise InvalidInput(f"the body is empty; send {hint}")
        return body

    async def parts(self, request: Request) -> AsyncGenerator[bytes]:
        """The body piece by piece.

        Raises :class:`TooLarge` as soon as it is known to pass the limit, :class:`NoRoom` as soon as it does not fit
        beside the bodies of other requests, and :class:`TooSlow` at the deadline.
        """
        ends_at = asyncio.get_running_loop().time() + self.timeout_s
        announced, taken, more = _announced_bytes(request), 0, True
        if announced > self.max_bytes:
            raise self._too_large(cut=announced > 2 * self.max_bytes)
        share: Share = request.state.memory
        share.refuse_beyond(announced)
        while more:
            message = await self._received(request, ends_at)
            part, more = message.get("body", b""), message.get("more_body", False)
            taken += len(part)
            if taken > self.max_bytes:
                raise self._too_large(cut=not await self._drained(request, more, ends_at))
            share.take(len(part))
            yield part

    async def _received(self, request: Request, ends_at: float) -> Message:
        try:
            async with asyncio.timeout_at(ends_at):
                message = await request.receive()
        except TimeoutError:
            raise TooSlow(self.timeout_s) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message

    async def _drained(self, request: Request, more: bool, ends_at: float) -> bool:
        """Read on to the end of a body, which many clients reach before they read an answer; False if it is far."""
        left = self.max_bytes
        while more and left > 0:
            message = await self._received(request, ends_at)
            more = message.get("more_body", False)
            left -= len(message.get("body", b""))
        return not more

    def _too_large(self, cut: bool) -> TooLarge:
        return TooLarge("the body is larger", f"{self.max_bytes} bytes", self.setting, cut)


def _announced_bytes(request: Request) -> int:
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() and len(announced) < 20 else 0
