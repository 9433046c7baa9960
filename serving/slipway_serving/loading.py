"""Having a running Triton load a repository's models, and saying clearly why one does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from slipway_client import Client
from slipway_core.errors import CannotServe, DeadlineExceeded, RepositoryBroken, SlipwayError
from slipway_serving.launch import LOAD_THREADS
from slipway_serving.patience import Patience
from slipway_serving.repository import Repository


@dataclass
class Outcome:
    """Which models answer, and why the others do not."""

    loaded: list[str] = field(default_factory=list[str])
    broken: dict[str, str] = field(default_factory=dict[str, str])


def load_models(client: Client, repository: Repository, patience: Patience, logged: Callable[[str], str]) -> Outcome:
    """Load stage after stage, the models of one stage at once.

    A model that fails is tried again as long as others have come up since: it may call one of them while it loads.
    One whose net is broken is broken too: Triton would call it ready, and every request would fail. ``logged`` gives
    the reason that only Triton's log tells. Raises :class:`CannotServe` when time runs out.
    """
    outcome = Outcome(broken=repository.broken)
    nets = {model.name: model.net for model in repository.models}
    for stage in repository.stages():
        for name in stage:
            if nets[name] in outcome.broken:
                outcome.broken.setdefault(name, f"it asks {nets[name]!r}, which is not served")
        waiting = [name for name in stage if name not in outcome.broken]
        while waiting:
            before = len(outcome.loaded)
            failed = _load(client, waiting, patience)
            outcome.loaded += [name for name in waiting if name not in failed]
            waiting = list(failed) if len(outcome.loaded) > before else []
            if not waiting:
                outcome.broken |= {name: reason_of(name, error, logged(name)) for name, error in failed.items()}
    return outcome


def _load(client: Client, names: Sequence[str], patience: Patience) -> dict[str, RepositoryBroken]:
    """Load models at once; those that would not, with the error."""

    def load(name: str) -> RepositoryBroken | None:
        try:
            client.load(name, deadline_s=max(patience.left_s, 0.001))
        except RepositoryBroken as e:
            return e
        except DeadlineExceeded:
            raise CannotServe(
                f"model {name!r} was still loading after {patience.allowed_s:g} s",
                "give Triton more time (--ready-timeout), or look at its log (--verbose)",
            ) from None
        return None

    threads = ThreadPoolExecutor(LOAD_THREADS, thread_name_prefix="slipway-load")
    try:
        errors = list(threads.map(load, names))
    finally:  # after Ctrl-C nobody waits for the others; they end with Triton
        threads.shutdown(wait=False, cancel_futures=True)
    return {name: error for name, error in zip(names, errors, strict=True) if error is not None}


def reason_of(model: str, error: SlipwayError, logged: str) -> str:
    """Triton's reason without its wrapping; where Triton only says that it failed to poll, what its log said."""
    text = error.reason if isinstance(error, RepositoryBroken) else str(error)
    if "failed to poll from model repository" in text:
        return logged or "Triton cannot read its directory (nothing in the log says why)"
    text = re.sub(rf"^load failed for model '{re.escape(model)}': ", "", text).rstrip("; ")
    text = re.sub(r"version (\d+) is at UNAVAILABLE state: ", r"version \1: ", text)
    text = re.sub(r"(version \d+: )(?:Internal|Invalid argument|Not found|Unavailable|Unsupported): ", r"\1", text)
    text = text.replace("ModelRefused: ", "")
    if re.search(r"Stub process '[^']*' is not healthy", text):
        return "its worker died while it loaded (killed, out of memory, or crashed); the log may say more (--verbose)"
    if "auto-complete" in text or "must specify" in text:
        return f"{text}; write inputs and outputs into its config.pbtxt, or restart Triton, which then completes them"
    return text
