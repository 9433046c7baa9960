"""The Tritons there can be on a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True)
class Embedded:
    """The Triton of the wheel ``nvidia-pytriton``: the real server, with the python backend alone.

    ``stub`` is the folder of the worker's executable for this Python, ``libraries`` what the loader must find,
    ``interpreter`` the folder of the ``python3`` whose packages the workers use.
    """

    root: Path
    stub: Path
    libraries: tuple[Path, ...]
    interpreter: Path
    version: str

    def __str__(self) -> str:
        return f"embedded (nvidia-pytriton {self.version})"


@dataclass(frozen=True)
class OnPath:
    """A ``tritonserver`` somebody installed, with its own backends."""

    binary: Path

    def __str__(self) -> str:
        return str(self.binary)


@dataclass(frozen=True)
class Docker:
    """The official image, with its own backends. ``gpus``: hand the machine's GPUs to the container."""

    image: str
    gpus: bool = False

    def __str__(self) -> str:
        return f"docker ({self.image})"


Installation: TypeAlias = Embedded | OnPath | Docker
