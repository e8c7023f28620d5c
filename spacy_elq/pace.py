"""How much long work takes on at once: an interrupt loses what is under way."""

from __future__ import annotations

# What a chunk of work should take.
SECONDS = 2.0


class AdaptiveChunkSize:
    """The size of the next chunk: small at first, then as much as is done in some seconds."""

    def __init__(self, first: int, most: int) -> None:
        """
        first (int): Size of the first chunk.
        most (int): Size of the largest.
        """
        self.size = min(first, most)
        self.most = most

    def record(self, size: int, seconds: float) -> None:
        """Tell how long a chunk took. The next is twice as large at most: it may be harder work."""
        fitting = size * min(2.0, SECONDS / max(seconds, 1e-9))
        self.size = min(self.most, max(1, int(fitting)))
