"""How long a start may take, from its beginning."""

from __future__ import annotations

import time
from dataclasses import dataclass


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
