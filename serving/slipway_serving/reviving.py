"""Loading a model anew without a gap: the old one answers until the new one does."""

from __future__ import annotations

import asyncio

from google.protobuf.json_format import MessageToJson
from tritonclient.grpc import service_pb2 as pb

from slipway_client import AsyncClient, rpcs
from slipway_core.errors import RepositoryBroken


def revive(address: str, model: str, timeout_s: float) -> None:
    """Give the model new workers. Raises the client's errors when Triton cannot.

    Triton ignores a plain load of a model whose files have not changed. Loaded with its own config it starts new
    workers beside the old and then exchanges them; if it refuses that, the model is unloaded first.
    """
    asyncio.run(_revive(address, model, timeout_s))


async def _revive(address: str, model: str, timeout_s: float) -> None:
    async with AsyncClient(address, deadline_s=timeout_s) as client:
        reply = await client.call(rpcs.MODEL_CONFIG, pb.ModelConfigRequest(name=model))
        request = pb.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = MessageToJson(reply.config, preserving_proto_field_name=True)
        try:
            await client.call(rpcs.REPOSITORY_LOAD, request)
        except RepositoryBroken:
            await client.unload(model)
            await client.load(model)
