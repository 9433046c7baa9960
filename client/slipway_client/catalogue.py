"""What models Triton serves, read from Triton alone and remembered for a few seconds."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tritonclient.grpc import model_config_pb2

from slipway_core.served import ServedModel, served_model

FRESH_S = 5.0


@dataclass
class Catalogue:
    """Remembers each model and version for ``fresh_s`` seconds, so that a reload is noticed soon."""

    fetch: Callable[[str, str], Awaitable[ServedModel]]
    fresh_s: float = FRESH_S
    _known: dict[tuple[str, str], tuple[float, ServedModel]] = field(default_factory=dict)

    async def get(self, name: str, version: str) -> ServedModel:
        """The model as it was at most ``fresh_s`` seconds ago."""
        found = self._known.get((name, version))
        if found is not None and found[0] > time.monotonic():
            return found[1]
        return await self.refresh(name, version)

    async def refresh(self, name: str, version: str) -> ServedModel:
        """The model as it is now."""
        self.forget(name)
        model = await self.fetch(name, version)
        self._known[name, version] = (time.monotonic() + self.fresh_s, model)
        return model

    def forget(self, name: str) -> None:
        """Ask Triton again the next time."""
        for key in [key for key in self._known if key[0] == name]:
            del self._known[key]


def of_config(config: model_config_pb2.ModelConfig, versions: list[str]) -> ServedModel:
    """The card behind a ModelConfig; ``versions`` are the live ones."""
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    return served_model(config.name, config.max_batch_size, parameters, sorted(versions, key=_number))


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0
