"""One limit for a whole operation, however many calls it makes."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """``allowed_s`` seconds from the moment it was set."""

    allowed_s: float
    ends_at: float

    @classmethod
    def after(cls, allowed_s: float) -> Deadline:
        """A deadline that starts to run now."""
        return cls(allowed_s, time.monotonic() + allowed_s)

    @property
    def left_s(self) -> float:
        """What is left; never below a millisecond, so that an expired deadline still fails as one."""
        return max(self.ends_at - time.monotonic(), 0.001)
