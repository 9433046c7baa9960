"""gRPC's status codes and Triton's messages -> slipway's errors. The one place where this is done.

The messages are those of Triton 2.51; where a later version words one differently, the status code decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from slipway_core.errors import (
    BatchTooLarge,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    RepositoryBroken,
    ServerUnavailable,
    SlipwayError,
    UnsupportedByServer,
    WorkerDied,
)

_NOT_CONNECTED = "failed to connect to all addresses"
_REPOSITORY_CALLS = ("RepositoryModelLoad", "RepositoryModelUnload")
_SHOWN_NAME = 80


class NotLoaded(ModelNotFound):
    """Triton knows the model and cannot answer from this version, or from any, at the moment."""


@dataclass(frozen=True)
class CallFacts:
    """What a message about a failed call can name."""

    rpc: str
    request: Message
    address: str
    deadline_s: float

    @property
    def model(self) -> str:
        """The model the request names, or nothing."""
        return shortened(getattr(self.request, "model_name", "") or getattr(self.request, "name", ""))

    @property
    def version(self) -> str:
        """The version the request names, or nothing."""
        return getattr(self.request, "model_version", "") or getattr(self.request, "version", "")

    @property
    def rows(self) -> int:
        """The batch size of an inference request."""
        inputs: Any = getattr(self.request, "inputs", ())
        return int(inputs[0].shape[0]) if inputs and inputs[0].shape else 0


def shortened(name: str) -> str:
    """A name that fits into a line."""
    return name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "..."


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call failed before a byte of it left: it cannot have run."""
    return error.code() is grpc.StatusCode.UNAVAILABLE and (error.details() or "").startswith(_NOT_CONNECTED)


def translated(error: grpc.aio.AioRpcError, facts: CallFacts) -> SlipwayError:
    """The error a user is told instead of gRPC's."""
    code, details = error.code(), _one_line(error.details() or "")
    if facts.rpc in _REPOSITORY_CALLS and code in _REFUSALS:
        return RepositoryBroken(facts.model, details)
    translate = _BY_CODE.get(code, _failed)
    return translate(details, facts)


def _one_line(details: str) -> str:
    """Triton's message without its request id, the trace of a Python model and advice on other settings."""
    text = re.sub(r"^\[request id: [^\]]*\] ", "", details).strip()
    text = re.split(r"\n\nAt:\n|\. NOTE: Setting a non-zero max_batch_size", text)[0]
    return " ".join(text.split())


def _unavailable(details: str, facts: CallFacts) -> SlipwayError:
    if "Exceeds maximum queue size" in details:
        return Overloaded(facts.model, "its queue is full")
    if "Request timeout expired" in details:
        return Overloaded(facts.model, "the request waited in the queue longer than its timeout")
    net = re.match(r"\S+_net version \d+: ", details)
    if net:  # the decoding half of an image model found the other half full, or being replaced
        return Overloaded(facts.model, details)
    if "is not at ready state" in details:
        # The client looks whether other versions answer: then this one is gone, else the model is being loaded.
        return NotLoaded(facts.model, facts.version)
    if "is not allowed" in details:
        return UnsupportedByServer(f"Triton at {facts.address}: {details}")
    return ServerUnavailable(facts.address, _connection_trouble(details))


def _connection_trouble(details: str) -> str:
    if "Connection refused" in details:
        return "connection refused"
    if details.startswith(_NOT_CONNECTED):
        return details.rpartition(": ")[2].lower() + "; is that the gRPC port?"
    return details


def _not_found(details: str, facts: CallFacts) -> SlipwayError:
    of_version = facts.version if f"version {facts.version}" in details else ""
    return ModelNotFound(facts.model, of_version)


def _invalid_argument(details: str, facts: CallFacts) -> SlipwayError:
    too_large = re.search(r"request batch-size must be <= (\d+)", details)
    if too_large:
        return BatchTooLarge(facts.model, facts.rows, int(too_large.group(1)))
    if re.search(r"requested model '.*' is not available", details):
        return ModelNotFound(facts.model, facts.version)
    return InvalidInput(details)


def _failed(details: str, facts: CallFacts) -> SlipwayError:
    dead = re.search(r"Stub process '(.+?)(?:_\d+_\d+)?' is not healthy", details)
    if dead:  # named by the instance, because an image model reports the death of its net
        return WorkerDied(dead.group(1))
    if not facts.model:
        return ServerUnavailable(facts.address, details)
    reason = re.sub(r"^Failed to process the request\(s\) for model '[^']*', message: ", "", details)
    return InferenceFailed(facts.model, reason)


def _deadline(_: str, facts: CallFacts) -> SlipwayError:
    what = f"model {facts.model!r}" if facts.model else f"Triton at {facts.address}"
    return DeadlineExceeded(what, facts.deadline_s)


def _exhausted(details: str, _: CallFacts) -> SlipwayError:
    return InvalidInput(f"the request or its answer is too large for gRPC: {details}")


def _unsupported(details: str, facts: CallFacts) -> SlipwayError:
    return UnsupportedByServer(f"Triton at {facts.address} does not support {facts.rpc}: {details}")


_REFUSALS = (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: _unavailable,
    grpc.StatusCode.NOT_FOUND: _not_found,
    grpc.StatusCode.INVALID_ARGUMENT: _invalid_argument,
    grpc.StatusCode.DEADLINE_EXCEEDED: _deadline,
    grpc.StatusCode.RESOURCE_EXHAUSTED: _exhausted,
    grpc.StatusCode.UNIMPLEMENTED: _unsupported,
}
