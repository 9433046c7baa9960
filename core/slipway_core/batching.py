"""How a model's requests are gathered into batches: a value that tuning, cards and export hand on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Batching(BaseModel):
    """Triton's batching settings for one model.

    ``queue_delay_us`` is what a lone request may wait for company; 0 still forms batches under load,
    and a delay is not free (it cost a single client of a fast model three quarters of its throughput).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_batch_size: int = Field(default=64, ge=1, le=65536)
    dynamic: bool = True
    queue_delay_us: int = Field(default=0, ge=0, le=10_000_000)
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_size: int = Field(default=0, ge=0, description="requests; 0 means no bound")

    @model_validator(mode="after")
    def _preferred_sizes_fit(self) -> Batching:
        for size in self.preferred_batch_sizes:
            if not 1 <= size <= self.max_batch_size:
                raise ValueError(f"preferred_batch_sizes must lie in 1..{self.max_batch_size}, got {size}")
        return self
