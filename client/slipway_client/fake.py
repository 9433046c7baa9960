"""A Triton that is not there: models as plain functions, for tests of anything that uses a client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from google.protobuf.message import Message
from tritonclient.grpc import model_config_pb2
from tritonclient.grpc import service_pb2 as pb

from slipway_client.messages import infer_request
from slipway_client.rpcs import Received, Rpc, Sent
from slipway_core.card import ModelCard
from slipway_core.errors import (
    BatchTooLarge,
    ModelNotFound,
    RepositoryBroken,
    ServerUnavailable,
    UnsupportedByServer,
)
from slipway_core.images import IMAGE_TENSOR
from slipway_core.rows import input_specs
from slipway_core.served import parameters_of
from slipway_core.tensors import Array, TensorSpec, decode_tensor

Answering = Callable[[dict[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class FakeModel:
    """A model that answers with ``answer(tensors)``, whose first axis is the batch; it may raise slipway's errors."""

    config: model_config_pb2.ModelConfig
    answer: Answering
    versions: tuple[str, ...] = ("1",)

    @classmethod
    def of_card(cls, card: ModelCard, answer: Answering, versions: Sequence[str] = ("1",)) -> FakeModel:
        """A model as export would publish it from this card."""
        config = model_config_pb2.ModelConfig(name=card.name, max_batch_size=card.batching.max_batch_size)
        specs = (TensorSpec(IMAGE_TENSOR, "BYTES", (1,)),) if card.image else input_specs(card.inputs)
        for spec in specs:
            datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
            config.input.add(name=spec.name, data_type=f"TYPE_{datatype}", dims=spec.shape)
        for key, value in parameters_of(card).items():
            config.parameters[key].string_value = value
        return cls(config, answer, tuple(versions))


@dataclass
class FakeTransport:
    """Answers from ``models``; what was asked is kept in ``calls``. Set ``down`` to have nothing answer.

    Live versions are a model's ``versions``; the last is the default. A model in ``unready`` is listed with that
    reason and answers nothing.
    """

    models: dict[str, FakeModel] = field(default_factory=dict[str, FakeModel])
    unready: dict[str, str] = field(default_factory=dict[str, str])
    down: bool = False
    calls: list[tuple[str, Message]] = field(default_factory=list[tuple[str, Message]])
    address: str = "fake:0"
    closed: bool = False

    async def call(self, rpc: Rpc[Sent, Received], request: Sent, *, deadline_s: float) -> Received:
        """Answer at once; see :class:`Transport`."""
        if self.closed:
            raise RuntimeError("this client is closed; make a new one")
        self.calls.append((rpc.name, request))
        if self.down:
            raise ServerUnavailable(self.address, "connection refused")
        answer = self._answers().get(rpc.name)
        if answer is None:
            raise UnsupportedByServer(f"Triton at {self.address} does not support {rpc.name}")
        return cast(Received, answer(request))

    async def close(self) -> None:
        """Refuse every later call."""
        self.closed = True

    def requests(self, rpc: Rpc[Sent, Any]) -> list[Sent]:
        """The requests of one kind that came so far, oldest first."""
        return [cast(Sent, request) for name, request in self.calls if name == rpc.name]

    def _answers(self) -> dict[str, Callable[[Any], Message]]:
        return {
            "ServerLive": lambda _: pb.ServerLiveResponse(live=True),
            "ServerReady": lambda _: pb.ServerReadyResponse(ready=True),
            "ServerMetadata": lambda _: pb.ServerMetadataResponse(name="triton", version="fake"),
            "ModelReady": self._ready,
            "ModelMetadata": self._metadata,
            "ModelConfig": self._config,
            "ModelInfer": self._infer,
            "ModelStatistics": lambda _: pb.ModelStatisticsResponse(),
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    def _found(self, name: str, version: str) -> tuple[FakeModel, str]:
        model = self.models.get(name)
        if model is None or name in self.unready:
            raise ModelNotFound(name)
        if version and version not in model.versions:
            raise ModelNotFound(name, version)
        return model, version or model.versions[-1]

    def _index(self, _: Any) -> pb.RepositoryIndexResponse:
        reply = pb.RepositoryIndexResponse()
        for name, model in sorted(self.models.items()):
            for version in model.versions:
                state = "UNAVAILABLE" if name in self.unready else "READY"
                reply.models.add(name=name, version=version, state=state, reason=self.unready.get(name, ""))
        return reply

    def _load(self, request: pb.RepositoryModelLoadRequest) -> pb.RepositoryModelLoadResponse:
        if request.model_name not in self.models:
            raise RepositoryBroken(request.model_name, "failed to poll from model repository")
        self.unready.pop(request.model_name, None)
        return pb.RepositoryModelLoadResponse()

    def _unload(self, request: pb.RepositoryModelUnloadRequest) -> pb.RepositoryModelUnloadResponse:
        if request.model_name in self.models:
            self.unready[request.model_name] = "unloaded"
        return pb.RepositoryModelUnloadResponse()

    def _ready(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        model = self.models.get(request.name)
        live = model is not None and (not request.version or request.version in model.versions)
        return pb.ModelReadyResponse(ready=live and request.name not in self.unready)

    def _config(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        return pb.ModelConfigResponse(config=self._found(request.name, request.version)[0].config)

    def _metadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        config = self._found(request.name, request.version)[0].config
        reply = pb.ModelMetadataResponse(
            name=config.name, versions=self.models[config.name].versions, platform=config.platform or config.backend
        )
        batch = [-1] if config.max_batch_size else []
        for tensors, wanted in ((config.input, reply.inputs), (config.output, reply.outputs)):
            for tensor in tensors:
                datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
                datatype = "BYTES" if datatype == "STRING" else datatype
                wanted.add(name=tensor.name, datatype=datatype, shape=[*batch, *tensor.dims])
        return reply

    def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        model, version = self._found(request.model_name, request.model_version)
        tensors = {
            tensor.name: decode_tensor(raw, tensor.datatype, tuple(tensor.shape))
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        rows, limit = max((len(array) for array in tensors.values()), default=0), model.config.max_batch_size
        if 0 < limit < rows:
            raise BatchTooLarge(request.model_name, rows, limit)
        answer = infer_request(request.model_name, version, model.answer(tensors))
        wanted = [output.name for output in request.outputs]
        reply = pb.ModelInferResponse(model_name=request.model_name, model_version=version, id=request.id)
        for tensor, raw in zip(answer.inputs, answer.raw_input_contents, strict=True):
            if not wanted or tensor.name in wanted:
                reply.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
                reply.raw_output_contents.append(raw)
        return reply
