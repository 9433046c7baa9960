"""What the bodies of all requests may take of this process's memory, so that many clients cannot fill it together."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from slipway_frontend.errors import NoRoom


class Memory:
    """So many bytes of bodies may be held at once."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0

    @contextmanager
    def share(self) -> Generator[Share]:
        """One request's share, empty at first; all of it is given back at the end, whichever end that is."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.held_bytes


class Share:
    """What one request holds of the memory."""

    def __init__(self, memory: Memory) -> None:
        self.held_bytes = 0
        self._memory = memory

    def refuse_beyond(self, size_bytes: int) -> None:
        """Raise :class:`NoRoom` where so many bytes more would not fit now.

        Nothing is set aside for them: otherwise who only announces large bodies would keep all others out.
        """
        if self._memory.held_bytes + size_bytes > self._memory.max_bytes:
            raise NoRoom(self._memory.max_bytes)

    def take(self, size_bytes: int) -> None:
        """Hold so many bytes more. Raises :class:`NoRoom`."""
        self.refuse_beyond(size_bytes)
        self.held_bytes += size_bytes
        self._memory.held_bytes += size_bytes
