"""``slipway doctor``: what this machine has, lacks, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from slipway import show
from slipway.places import JsonOption


def doctor(json_: JsonOption = False) -> None:
    """Check the machine: Python, glibc, shared memory, ports, GPU and driver, Docker, disk."""
    from slipway_serving import check_machine

    checks = check_machine()
    broken = any(check.ok is False for check in checks)
    if json_:
        show.as_json([asdict(check) for check in checks])
    else:
        words = {True: "ok", False: "PROBLEM", None: "-"}
        show.table(
            ("check", "", "found", "remedy"),
            [(check.name, words[check.ok], check.found, check.remedy) for check in checks],
        )
    raise typer.Exit(1 if broken else 0)
