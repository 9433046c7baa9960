"""What can be set about a frontend process, each by an environment variable ``SLIPWAY_<NAME>``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read once, where the process starts, and handed on."""

    model_config = SettingsConfigDict(env_prefix="SLIPWAY_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    http_port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    triton_grpc: str = Field(default="127.0.0.1:8001", description="host:port of Triton's gRPC port")
    deadline_s: float = Field(default=30.0, gt=0, le=3600, description="seconds that Triton gets for one call")
    max_body_bytes: int = Field(default=64 * 2**20, ge=1024, description="largest request body in bytes")
    max_rows: int = Field(default=100_000, ge=1, description="most rows in one predict call")
    max_images: int = Field(default=256, ge=1, description="most images in one classify call")
    drain_s: int = Field(
        default=4, ge=0, le=3600, description="seconds that requests in flight get after SIGTERM to finish"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug adds health checks; warning shows failures only"
    )


def explained() -> str:
    """One line per setting: its environment variable, what it does and its default."""
    lines = [
        f"  SLIPWAY_{name.upper():<16} {field.description} (default: {field.default})"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines)
