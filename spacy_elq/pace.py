"""Chunk sizes for long work: an interrupt loses the chunk in progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

# How long a chunk should take.
SECONDS = 2.0


class HasText(Protocol):
    @property
    def text(self) -> str: ...


AnyText = TypeVar("AnyText", bound=HasText)


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


def by_characters(texts: Iterable[AnyText], most: int, chars: int) -> Iterator[list[AnyText]]:
    """Group texts in their order.

    texts (Iterable): Documents, examples or other objects with a text.
    most (int): Maximum number of texts of a group.
    chars (int): Characters of a group from which on it takes no further text.
    """
    group: list[AnyText] = []
    size = 0
    for text in texts:
        group.append(text)
        size += len(text.text)
        if len(group) >= most or size >= chars:
            yield group
            group, size = [], 0
    if group:
        yield group
