"""Programs that `slipway up` starts and that must not outlive it, also when it is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

# Asks the kernel for a SIGTERM when the parent's thread ends, then becomes the program. A bare interpreter does this
# rather than a `preexec_fn`: that one forks for real, which gRPC's threads in this process do not take well.
_BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    os._exit(1)  # it went away before the line above
os.execv(sys.argv[2], sys.argv[2:])
"""


def start_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    own_group: bool = False,
    piped: bool = False,
) -> subprocess.Popen[str]:
    """Start a program, given by its full path, that gets SIGTERM when the thread that called this ends.

    ``own_group`` keeps the terminal's Ctrl-C from it. ``piped`` gives its stdout and stderr as one stream of text.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _BOUND, str(os.getpid()), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if piped else None,
        stderr=subprocess.STDOUT if piped else None,
        text=True,
        errors="replace",
        process_group=0 if own_group else None,
    )
