"""What can be set about a frontend process, each by an environment variable ``SLIPWAY_<NAME>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SLIPWAY_"


class Settings(BaseSettings):
    """Read once, where the process starts, and handed on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 for every interface")
    http_port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    triton_grpc: str = Field(default="127.0.0.1:8001", description="host:port of Triton's gRPC port")
    deadline_s: float = Field(default=30.0, gt=0, le=3600, description="seconds that Triton gets for one call")
    receive_timeout_s: float = Field(
        default=60.0, gt=0, le=3600, description="seconds that a client gets to send a request's head, then its body"
    )
    max_text_bytes: int = Field(default=8 * 2**20, ge=1024, description="largest JSON or CSV body in bytes")
    max_binary_bytes: int = Field(default=64 * 2**20, ge=1024, description="largest body of images in bytes")
    max_held_bytes: int = Field(
        default=512 * 2**20,
        validate_default=True,
        description="most bytes of bodies held at once, of all requests together; more are answered 503",
    )
    max_rows: int = Field(default=50_000, ge=1, description="most rows in one predict call")
    max_row_bytes: int = Field(default=2**20, ge=1024, description="largest row in a JSON body, in bytes")
    max_images: int = Field(default=256, ge=1, description="most images in one classify call")
    max_requests: int = Field(default=1024, ge=1, description="most requests in work at once; more are answered 503")
    drain_s: int = Field(
        default=4, ge=0, le=3600, description="seconds that requests in flight get after SIGTERM to finish"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug adds health checks; warning shows failures only"
    )

    @field_validator("max_held_bytes")
    @classmethod
    def _holds_the_largest_body(cls, value: int, info: ValidationInfo) -> int:
        for name in ("max_text_bytes", "max_binary_bytes"):
            if value < info.data.get(name, 0):  # absent where it is not valid itself, which is told first
                least = {"setting": _variable(name), "bytes": info.data[name]}
                raise PydanticCustomError("too_small", "it must be at least {setting}, {bytes}", least)
        return value


def explained() -> str:
    """One line per setting: its environment variable, what it does and its default."""
    width = max(map(len, Settings.model_fields))
    lines = [
        f"  {_variable(name):<{width + len(PREFIX)}} {field.description} (default: {field.default})"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(lines)


def page() -> str:
    """``docs/settings.md``: every setting as a row of a table."""
    described = Settings.model_json_schema()["properties"]
    rows = [
        f"| `{_variable(name)}` | {_kind(described[name])} | `{field.default}` | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


_HEAD = """\
# Settings of the frontend

Environment variables, read once when the frontend starts.
This page is written by `python -m slipway_frontend --settings-page > docs/settings.md`.

| variable | type | default | meaning |
|---|---|---|---|
"""
_KINDS = {"integer": "whole number", "number": "number", "string": "text"}
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _kind(described: Mapping[str, Any]) -> str:
    if "enum" in described:
        return ", ".join(f"`{choice}`" for choice in described["enum"])
    bounds = [f" {word} {described[key]:g}" for key, word in _BOUNDS.items() if key in described]
    return _KINDS[described["type"]] + "".join(bounds)
