"""The client, written once and asynchronously."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tritonclient.grpc import service_pb2 as pb

from slipway_client import rpcs
from slipway_client.asking import check_names, predictable, readable
from slipway_client.batches import Part, side_by_side, split
from slipway_client.catalogue import Catalogue, of_config
from slipway_client.deadlines import Deadline, valid_deadline
from slipway_client.grpc_errors import NotLoaded
from slipway_client.images import faulty_image, image_names, read_images
from slipway_client.messages import image_tensors, infer_request, output_tensors, spelled
from slipway_client.results import InferResult, ModelState, PredictionResult
from slipway_client.rpcs import Received, Rpc, Sent
from slipway_client.transport import DEFAULT_ADDRESS, GrpcTransport, Transport
from slipway_core.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServerUnavailable,
    SlipwayError,
)
from slipway_core.rows import rows_to_tensors
from slipway_core.served import ServedModel
from slipway_core.tensors import Array

DEADLINE_S = 30.0

Found = TypeVar("Found")


class AsyncClient:
    """Calls to one Triton. Every operation ends within ``deadline_s`` seconds, whatever the server does.

    ``target`` is the ``host:port`` of Triton's gRPC port, or a :class:`Transport`. Use it in one event loop, as an
    async context manager or with :meth:`aclose`; a closed client raises RuntimeError. Failures are the classes of
    ``slipway_core.errors``. A request is sent again only when it cannot have run: nothing was listening, or the
    model had been replaced and refused it.
    """

    def __init__(self, target: str | Transport = DEFAULT_ADDRESS, *, deadline_s: float = DEADLINE_S) -> None:
        self.deadline_s = valid_deadline(deadline_s)
        self.transport: Transport = GrpcTransport(target) if isinstance(target, str) else target
        self._catalogue = Catalogue(self._fetch)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Release the connection; calls in flight are cancelled."""
        await self.transport.close()

    async def predict(self, model: str, rows: Sequence[Mapping[str, Any]], *, version: str = "") -> PredictionResult:
        """Predictions for rows by feature name, in the rows' order; any number of rows, one version for all.

        Raises :class:`InvalidInput` (and its family, naming the row and the feature), :class:`WrongTask` for a
        model that takes no rows, :class:`ModelNotFound`, and what the server's state brings.
        """

        async def ask(served: ServedModel, deadline: Deadline) -> PredictionResult:
            predictable(served)
            return await self._answer(served, rows_to_tensors(served.features, rows), version, deadline)

        return await self._with_card(model, version, ask)

    async def classify(
        self,
        model: str,
        images: Sequence[bytes | Path],
        *,
        version: str = "",
        names: Sequence[str] | None = None,
    ) -> PredictionResult:
        """Classes of encoded images (file contents, or paths), in order; any number, one version for all.

        ``names`` are what errors call the images; by default a path, or ``image <i>`` counted from 0.
        Raises :class:`InvalidImage` for a file that cannot be read or decoded, else as :meth:`predict`.
        """
        called = image_names(images, names)

        async def ask(served: ServedModel, deadline: Deadline) -> PredictionResult:
            readable(served)
            contents = await read_images(images, called)
            return await self._answer(served, image_tensors(contents), version, deadline, called)

        return await self._with_card(model, version, ask)

    async def infer(
        self, model: str, tensors: Mapping[str, Array], *, version: str = "", outputs: Sequence[str] = ()
    ) -> InferResult:
        """One raw request, sent as it is; ``outputs`` names those wanted, by default all.

        Raises :class:`BatchTooLarge` where :meth:`predict` would split.
        """
        return await self._infer(model, version, tensors, Deadline.after(self.deadline_s), outputs)

    async def models(self) -> list[ServedModel]:
        """Every model with a live version, sorted by name; image models' nets included, foreign models too."""
        deadline = Deadline.after(self.deadline_s)
        names = sorted({state.name for state in await self._index(deadline) if state.ready})
        found = await asyncio.gather(*(self._listed(name, deadline) for name in names))
        return [model for model in found if model is not None]

    async def model(self, name: str, version: str = "") -> ServedModel:
        """One model as Triton serves it now."""
        return await self._catalogue.refresh(name, version)

    async def live(self) -> bool:
        """Whether Triton's process answers."""
        return await self._says_yes(rpcs.SERVER_LIVE, pb.ServerLiveRequest(), lambda reply: reply.live)

    async def ready(self) -> bool:
        """Whether Triton calls itself ready. That says little of its models: see :meth:`index`."""
        return await self._says_yes(rpcs.SERVER_READY, pb.ServerReadyRequest(), lambda reply: reply.ready)

    async def model_ready(self, name: str, version: str = "") -> bool:
        """Whether Triton calls the model ready; it does so too when the model's Python worker is dead."""
        request = pb.ModelReadyRequest(name=spelled(name), version=spelled(version))
        return await self._says_yes(rpcs.MODEL_READY, request, lambda reply: reply.ready)

    async def index(self) -> list[ModelState]:
        """Every model and version in Triton's repository, ready or not."""
        return await self._index(Deadline.after(self.deadline_s))

    async def load(self, name: str, *, deadline_s: float | None = None) -> None:
        """Have Triton load the model, or load it anew; returns when the new one answers and the old one is gone.

        Raises :class:`RepositoryBroken` when Triton cannot; the version that served before then still does.
        """
        request = pb.RepositoryModelLoadRequest(model_name=spelled(name))
        await self.call(rpcs.REPOSITORY_LOAD, request, deadline_s=deadline_s)
        self._catalogue.forget(name)

    async def unload(self, name: str, *, deadline_s: float | None = None) -> None:
        """Have Triton unload the model; requests in flight are still answered. An unknown model is no error."""
        request = pb.RepositoryModelUnloadRequest(model_name=spelled(name))
        await self.call(rpcs.REPOSITORY_UNLOAD, request, deadline_s=deadline_s)
        self._catalogue.forget(name)

    async def statistics(self, name: str = "", version: str = "") -> pb.ModelStatisticsResponse:
        """Triton's own counters, of one model or of all."""
        request = pb.ModelStatisticsRequest(name=spelled(name), version=spelled(version))
        return await self.call(rpcs.MODEL_STATISTICS, request)

    async def call(self, rpc: Rpc[Sent, Received], request: Sent, *, deadline_s: float | None = None) -> Received:
        """Send one of Triton's own messages and get its answer: the door for gateways and tools."""
        return await self._call(rpc, request, Deadline.after(self.deadline_s if deadline_s is None else deadline_s))

    async def _call(self, rpc: Rpc[Sent, Received], request: Sent, deadline: Deadline) -> Received:
        try:
            check_names(request)
            return await self._exchange(rpc, request, deadline)
        except ModelNotFound as e:
            raise await self._with_what_there_is(e, deadline) from None

    async def _exchange(self, rpc: Rpc[Sent, Received], request: Sent, deadline: Deadline) -> Received:
        try:
            return await self.transport.call(rpc, request, deadline_s=deadline.left_s)
        except DeadlineExceeded as e:  # told with what the whole operation had, not with what was left of it
            raise DeadlineExceeded(e.what, deadline.allowed_s) from None

    async def _with_what_there_is(self, error: ModelNotFound, deadline: Deadline) -> SlipwayError:
        """The same error, naming the versions of the model, or the models there are."""
        try:
            index = await self._index(deadline)
        except SlipwayError:
            return error
        live = [state for state in index if state.ready]
        versions = sorted((state.version for state in live if state.name == error.model), key=int)
        # A model of the repository that nobody unloaded is about to be loaded: asking again makes sense.
        known = any(
            state.name == error.model and state.state != "UNLOADING" and state.reason != "unloaded" for state in index
        )
        if (isinstance(error, NotLoaded) or (known and not versions)) and not (error.version and versions):
            return Overloaded(error.model, "none of its versions is loaded at the moment")
        if versions:  # without a version asked for, the model went away and came back between the two calls
            return ModelNotFound(error.model, error.version, versions if error.version else ())
        names = {state.name for state in live}
        return ModelNotFound(
            error.model, "", sorted(name for name in names if name.removesuffix("_net") not in names - {name})
        )

    async def _index(self, deadline: Deadline) -> list[ModelState]:
        reply = await self._exchange(rpcs.REPOSITORY_INDEX, pb.RepositoryIndexRequest(), deadline)
        return [ModelState(model.name, model.version, model.state, model.reason) for model in reply.models]

    async def _fetch(self, name: str, version: str, deadline: Deadline | None = None) -> ServedModel:
        deadline = deadline or Deadline.after(self.deadline_s)
        name, version = spelled(name), spelled(version)
        config, metadata = await asyncio.gather(
            self._call(rpcs.MODEL_CONFIG, pb.ModelConfigRequest(name=name, version=version), deadline),
            self._call(rpcs.MODEL_METADATA, pb.ModelMetadataRequest(name=name, version=version), deadline),
        )
        return of_config(config.config, list(metadata.versions))

    async def _listed(self, name: str, deadline: Deadline) -> ServedModel | None:
        try:
            return await self._fetch(name, "", deadline)
        except ModelNotFound:  # unloaded since the index was read
            return None
        except InferenceFailed as e:  # one unreadable card must not hide the other models
            return ServedModel(name, 0, description=str(e))

    async def _says_yes(self, rpc: Rpc[Sent, Received], request: Sent, yes: Callable[[Received], bool]) -> bool:
        try:
            return yes(await self.call(rpc, request))
        except (ServerUnavailable, DeadlineExceeded, ModelNotFound):
            return False

    async def _with_card(
        self, name: str, version: str, ask: Callable[[ServedModel, Deadline], Awaitable[Found]]
    ) -> Found:
        """``ask`` with the remembered card, and once more if it failed and the card has changed since."""
        deadline = Deadline.after(self.deadline_s)
        served = await self._catalogue.get(name, version)
        try:
            return await ask(served, deadline)
        except (InvalidInput, InferenceFailed, ModelNotFound):
            renewed = await self._catalogue.refresh(name, version)
            if renewed == served:
                raise
        return await ask(renewed, deadline)

    async def _answer(
        self,
        served: ServedModel,
        tensors: dict[str, Array],
        version: str,
        deadline: Deadline,
        names: Sequence[str] = (),
    ) -> PredictionResult:
        parts = split(tensors, served.max_batch_size)
        answers = await self._send(served.name, version, parts, deadline, names)
        newest = max((answer.version for answer in answers), key=int)
        if any(answer.version != newest for answer in answers):
            # A new version went live between two parts; one answer must not mix them.
            answers = await self._send(served.name, newest, parts, deadline, names)
        predictions = [made for answer in answers for made in served.predictions(answer.tensors)]
        return PredictionResult(served.name, newest, predictions)

    async def _send(
        self, model: str, version: str, parts: Sequence[Part], deadline: Deadline, names: Sequence[str]
    ) -> list[InferResult]:
        async def send(part: Part) -> InferResult:
            try:
                return await self._infer(model, version, part.tensors, deadline)
            except InvalidInput as e:
                raise faulty_image(e, names, part.start) from None

        return await side_by_side(parts, send)

    async def _infer(
        self,
        model: str,
        version: str,
        tensors: Mapping[str, Array],
        deadline: Deadline,
        outputs: Sequence[str] = (),
    ) -> InferResult:
        reply = await self._call(rpcs.MODEL_INFER, infer_request(model, version, tensors, outputs), deadline)
        return InferResult(reply.model_name, reply.model_version, output_tensors(reply))
