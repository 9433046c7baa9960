"""Loading a model anew without a gap: the old one answers until the new one does."""

from __future__ import annotations

import asyncio

from google.protobuf.json_format import MessageToJson
from tritonclient.grpc import service_pb2 as pb

from slipway_client import AsyncClient, rpcs

RESTARTS = "slipway.restarts"


def revive(address: str, model: str, count: int, timeout_s: float) -> None:
    """Give the model new workers, for the ``count``-th time. Raises the client's errors when Triton cannot.

    Triton ignores a plain load of a model whose files have not changed, and keeps the workers of one whose config
    has not. Loaded with its own config and the count among its parameters, the model gets new workers beside the old
    ones, which are then exchanged.
    """
    asyncio.run(_revive(address, model, count, timeout_s))


async def _revive(address: str, model: str, count: int, timeout_s: float) -> None:
    async with AsyncClient(address, deadline_s=timeout_s) as client:
        config = (await client.call(rpcs.MODEL_CONFIG, pb.ModelConfigRequest(name=model))).config
        config.parameters[RESTARTS].string_value = str(count)
        request = pb.RepositoryModelLoadRequest(model_name=model)
        request.parameters["config"].string_param = MessageToJson(config, preserving_proto_field_name=True)
        await client.call(rpcs.REPOSITORY_LOAD, request)
