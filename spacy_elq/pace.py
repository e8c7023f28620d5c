"""Chunk sizes for long work: an interrupt loses the chunk in progress."""

from __future__ import annotations

# How long a chunk should take.
SECONDS = 2.0


class AdaptiveChunkSize:
    """The size of the next chunk: small at first, then as large as `SECONDS` allow."""

    def __init__(self, first: int, maximum: int) -> None:
        """
        first (int): Size of the first chunk.
        maximum (int): Maximum size of a chunk.
        """
        self.size = min(first, maximum)
        self.maximum = maximum

    def record(self, size: int, seconds: float) -> None:
        """Record how long a chunk took, and set the size of the next. The size at most doubles: the
        next chunk may be harder."""
        fitting = size * min(2.0, SECONDS / max(seconds, 1e-9))
        self.size = min(self.maximum, max(1, int(fitting)))
