"""Which Triton to run: the wheel's, one on PATH, or Docker's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from slipway_core.errors import CannotServe, MissingExtra, SlipwayError
from slipway_serving import facts
from slipway_serving.installation import Docker, Installation, OnPath
from slipway_serving.options import ServeOptions


def find_triton(options: ServeOptions) -> Installation:
    """The Triton that was asked for, or with ``auto`` the first that works.

    Raises :class:`CannotServe` or :class:`MissingExtra` with the reason and the remedy.
    """
    finders: dict[str, Callable[[], Installation]] = {
        "embedded": facts.find_embedded,
        "path": on_path,
        "docker": lambda: in_docker(options.docker_image),
    }
    if options.server != "auto":
        return finders[options.server]()
    return first_that_works(finders)


def first_that_works(finders: Mapping[str, Callable[[], Installation]]) -> Installation:
    """Ask in order; when none has a Triton, the first one's error tells what to do."""
    errors: list[SlipwayError] = []
    for find in finders.values():
        try:
            return find()
        except (CannotServe, MissingExtra) as e:
            errors.append(e)
    raise errors[0]


def on_path() -> OnPath:
    """The ``tritonserver`` on PATH."""
    binary = shutil.which("tritonserver")
    if binary is None:
        raise CannotServe("there is no tritonserver on PATH", "install one, or serve with --server embedded")
    return OnPath(Path(binary).resolve())


def in_docker(image: str) -> Docker:
    """The image, on a daemon that answers."""
    if shutil.which("docker") is None:
        raise CannotServe("docker is not installed", "install it, or serve with --server embedded")
    problem = facts.docker_problem()
    if problem:
        raise CannotServe(
            f"docker is installed, but its daemon does not answer ({problem})",
            "start it (systemctl start docker), or serve with --server embedded",
        )
    return Docker(image, gpus=facts.has_gpu())
