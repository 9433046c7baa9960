"""Bringing a published version into service, and taking that back when Triton refuses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from slipway_client import Client
from slipway_core.card import NET_SUFFIX
from slipway_core.errors import ModelNotFound, RepositoryBroken, SlipwayError
from slipway_core.layout import CONFIG_FILE, ModelDirectory, model_names
from slipway_core.served import PREFIX
from slipway_export.config import as_text, read_config
from slipway_export.contract import labels
from slipway_export.durable import locked, replace_file
from slipway_export.live import activation_order
from slipway_export.progress import Progress, silent, tell
from slipway_export.publish import labels_text

MOST_LIVE = 2
LOAD_TIMEOUT_S = 300.0
READY_TIMEOUT_S = 3.0  # Triton answers a load when it is done
_POLL_S = 0.05

# Have Triton read a model's configuration again, and wait until these versions answer.
_Load = Callable[[str, Sequence[int]], None]


def activate(
    repository: Path, model: str, version: int, *, address: str | None = None, progress: Progress = silent
) -> tuple[int, ...]:
    """Make a published version the one that answers, beside at most one older; returns the live versions, ascending.

    Activating an older version is how to roll back: newer ones stop being live and stay published.

    With the gRPC ``address`` of a running Triton, returns when that Triton answers from the version, without a pause
    for the others; when it refuses, the old configuration comes back and the error says why. Without an address the
    version is live from the next start on. Activating a live version applies its own settings again.

    Raises :class:`ModelNotFound`, :class:`RepositoryBroken`, or what the client raises.
    """
    directory = ModelDirectory(repository, model)
    if version not in directory.versions():
        there = [str(number) for number in directory.versions()]
        raise ModelNotFound(model, str(version) if there else "", there or model_names(repository))
    try:
        with locked(repository, model, lambda: tell(progress, "activate", f"waiting for an export of {model}")):
            order = activation_order(directory)
            # Triton answers from the highest live version, so whatever lies above the one to answer must go.
            now = [*(number for number in order if number < version), version][-MOST_LIVE:]
            with _triton(address) as load, _restored_on_failure(directory, load):
                _go_live(directory, version, order, now, load)
                tell(progress, "activate", f"{model} serves {', '.join(map(str, sorted(now)))}")
    except OSError as e:
        raise RepositoryBroken(str(directory.config), f"cannot be written ({e.strerror})") from None
    return tuple(sorted(now))


def _go_live(directory: ModelDirectory, version: int, before: Sequence[int], now: Sequence[int], load: _Load) -> None:
    """The net gains its version before the model that calls it does, and loses one after it."""
    net = _net_of(directory, version)
    both = list(dict.fromkeys([*before, *now]))
    if net is not None:
        _write(net, version, both)
        load(net.model, both)
    _write(directory, version, now)
    load(directory.model, now)
    if net is not None and set(both) != set(now):
        _write(net, version, now)
        load(net.model, now)


def _net_of(directory: ModelDirectory, version: int) -> ModelDirectory | None:
    config = read_config(directory.version(version) / CONFIG_FILE)
    is_decoder = config.backend == "python" and f"{PREFIX}image" in config.parameters
    return ModelDirectory(directory.repository, directory.model + NET_SUFFIX) if is_decoder else None


def _write(directory: ModelDirectory, version: int, live: Sequence[int]) -> None:
    """The version's own configuration and labels, for all that are live."""
    config = read_config(directory.version(version) / CONFIG_FILE)
    config.version_policy.specific.ClearField("versions")
    config.version_policy.specific.versions.extend(live)
    names = labels(config)
    if names:
        replace_file(directory.labels, labels_text(names))
    replace_file(directory.config, as_text(config).encode())


@contextmanager
def _triton(address: str | None) -> Generator[_Load]:
    """Load a model into the Triton at the address and wait for its versions; do nothing without one."""
    if address is None:
        yield lambda _model, _versions: None
        return
    with Client(address, deadline_s=LOAD_TIMEOUT_S) as client:

        def load(model: str, versions: Sequence[int]) -> None:
            client.load(model)
            for version in versions:
                deadline = time.monotonic() + READY_TIMEOUT_S
                while not client.model_ready(model, str(version)):
                    if time.monotonic() > deadline:
                        reason = f"the Triton at {address} has no version {version} of it; it serves another folder"
                        raise RepositoryBroken(model, reason)
                    time.sleep(_POLL_S)
                client.model(model, str(version))  # what a client cannot read is not in service

        yield load


@contextmanager
def _restored_on_failure(directory: ModelDirectory, load: _Load) -> Generator[None]:
    """Put the configurations back, model before net, and let Triton read them again."""
    net = ModelDirectory(directory.repository, directory.model + NET_SUFFIX)
    kept = {each: each.config.read_bytes() for each in (directory, net) if each.config.is_file()}
    try:
        yield
    except BaseException:
        for each, content in kept.items():
            if each.config.read_bytes() != content:
                replace_file(each.config, content)
                with suppress(SlipwayError):  # what is told is why the activation failed
                    load(each.model, ())
        raise
