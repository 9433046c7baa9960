"""Typed calls to Triton: what applications import.

``Client`` waits, ``AsyncClient`` awaits; both speak gRPC and raise the classes of ``slipway_core.errors``.
``FakeTransport`` stands in for a Triton in tests.
"""

from slipway_client.async_client import AsyncClient
from slipway_client.deadlines import valid_deadline
from slipway_client.fake import FakeModel, FakeTransport
from slipway_client.results import InferResult, ModelState, PredictionResult
from slipway_client.rpcs import Rpc
from slipway_client.sync_client import Client
from slipway_client.transport import DEFAULT_ADDRESS, GrpcTransport, Transport

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncClient",
    "Client",
    "FakeModel",
    "FakeTransport",
    "GrpcTransport",
    "InferResult",
    "ModelState",
    "PredictionResult",
    "Rpc",
    "Transport",
    "valid_deadline",
]
