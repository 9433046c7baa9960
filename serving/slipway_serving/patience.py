"""How long to wait: for a start, and before another try."""

from __future__ import annotations

import time
from dataclasses import dataclass

LONGEST_PAUSE_S = 30.0


def pause_before(crashes: int) -> float:
    """Seconds before another try, by how many crashes the last minute has seen before this one."""
    return 0.0 if crashes == 0 else min(LONGEST_PAUSE_S, 2.0 ** (crashes - 1))


@dataclass(frozen=True)
class Patience:
    """``allowed_s`` seconds, of which ``left_s`` are left."""

    allowed_s: float
    ends_at: float

    @classmethod
    def from_now(cls, allowed_s: float) -> Patience:
        """Begin to wait."""
        return cls(allowed_s, time.monotonic() + allowed_s)

    @property
    def left_s(self) -> float:
        """Never negative."""
        return max(0.0, self.ends_at - time.monotonic())
