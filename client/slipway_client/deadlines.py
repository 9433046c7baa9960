"""One limit for a whole operation, however many calls it makes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from slipway_core.errors import InvalidInput

SHORTEST_S, LONGEST_S = 0.001, 1_000_000.0  # gRPC counts in milliseconds, and overflows far above


def valid_deadline(seconds: float, name: str = "deadline_s") -> float:
    """``seconds``, when a call can wait for so long. Raises :class:`InvalidInput`, which calls it ``name``."""
    if not SHORTEST_S <= seconds <= LONGEST_S:  # nan is not between them either
        raise InvalidInput(
            f"{name} must be a number of seconds from {SHORTEST_S:g} to {LONGEST_S:.0f}, got {seconds:g}"
        )
    return seconds


@dataclass(frozen=True)
class Deadline:
    """``allowed_s`` seconds from the moment it was set."""

    allowed_s: float
    ends_at: float

    @classmethod
    def after(cls, allowed_s: float) -> Deadline:
        """A deadline that starts to run now. Raises :class:`InvalidInput` for one that no call can have."""
        return cls(valid_deadline(allowed_s), time.monotonic() + allowed_s)

    @property
    def left_s(self) -> float:
        """What is left; never below a millisecond, so that an expired deadline still fails as one."""
        return max(self.ends_at - time.monotonic(), SHORTEST_S)
