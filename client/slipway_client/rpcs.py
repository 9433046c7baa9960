"""Triton's gRPC calls as typed values: a path, the message sent and the message that comes back.

One value per call lets one method of a transport carry all of them, with the right types at the caller's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message
from tritonclient.grpc import service_pb2 as pb

Sent = TypeVar("Sent", bound=Message)
Received = TypeVar("Received", bound=Message)

SERVICE = "inference.GRPCInferenceService"


@dataclass(frozen=True)
class Rpc(Generic[Sent, Received]):
    """One unary call of ``inference.GRPCInferenceService``."""

    name: str
    request: type[Sent]
    response: type[Received]

    @property
    def path(self) -> str:
        """The HTTP/2 path under which gRPC finds the call."""
        return f"/{SERVICE}/{self.name}"


SERVER_LIVE = Rpc("ServerLive", pb.ServerLiveRequest, pb.ServerLiveResponse)
SERVER_READY = Rpc("ServerReady", pb.ServerReadyRequest, pb.ServerReadyResponse)
SERVER_METADATA = Rpc("ServerMetadata", pb.ServerMetadataRequest, pb.ServerMetadataResponse)
MODEL_READY = Rpc("ModelReady", pb.ModelReadyRequest, pb.ModelReadyResponse)
MODEL_METADATA = Rpc("ModelMetadata", pb.ModelMetadataRequest, pb.ModelMetadataResponse)
MODEL_CONFIG = Rpc("ModelConfig", pb.ModelConfigRequest, pb.ModelConfigResponse)
MODEL_INFER = Rpc("ModelInfer", pb.ModelInferRequest, pb.ModelInferResponse)
MODEL_STATISTICS = Rpc("ModelStatistics", pb.ModelStatisticsRequest, pb.ModelStatisticsResponse)
REPOSITORY_INDEX = Rpc("RepositoryIndex", pb.RepositoryIndexRequest, pb.RepositoryIndexResponse)
REPOSITORY_LOAD = Rpc("RepositoryModelLoad", pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse)
REPOSITORY_UNLOAD = Rpc("RepositoryModelUnload", pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse)
