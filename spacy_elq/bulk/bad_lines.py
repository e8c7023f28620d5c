"""Lines of an input that are not texts, or not such as a pipeline can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..corpora.spans_jsonl import LinkedText, check_text
from ..errors import ElqError


def leave_out_long(
    texts: Iterable[LinkedText], most: int, on_bad: Callable[[ElqError], None]
) -> Iterator[LinkedText]:
    """YIELDS (LinkedText): The texts that a pipeline can read.

    most (int): Maximum number of characters.
    on_bad (Callable): Called for each of the others.
    """
    for text in texts:
        try:
            check_text(text.text, most)
        except ElqError as err:
            on_bad(err)
        else:
            yield text
