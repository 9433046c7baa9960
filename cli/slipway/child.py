"""Programs that `slipway up` starts and that must not outlive it, also when it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1


def start_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    own_group: bool = False,
    piped: bool = False,
) -> subprocess.Popen[str]:
    """Start a program that gets SIGTERM when the thread that called this ends.

    ``own_group`` keeps the terminal's Ctrl-C from it. ``piped`` gives its stdout and stderr as one stream of text.
    """
    parent = os.getpid()
    libc = ctypes.CDLL(None)

    def die_with_the_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it went away before the line above
            os._exit(1)

    return subprocess.Popen(
        list(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else None,
        stderr=subprocess.STDOUT if piped else None,
        text=True,
        process_group=0 if own_group else None,
        preexec_fn=die_with_the_parent,  # noqa: PLW1509 - one system call, which takes no lock
    )
