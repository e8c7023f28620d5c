"""Link any number of texts in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spacy.language import Language

from ..corpora.spans_jsonl import LinkedText, check_text
from ..pace import AdaptiveChunkSize
from .batch import OnLinked, TextLinks, link_texts, no_progress

if TYPE_CHECKING:
    from .workers import Workers

# Maximum number of batches read ahead, to be sorted by length.
BATCHES_AHEAD = 8
# Maximum number of characters read ahead; a single text may have more.
CHARS_AHEAD = 1 << 22


def link_stream(
    nlp: Language,
    texts: Iterable[LinkedText],
    batch_size: int,
    *,
    on_linked: OnLinked = no_progress,
    workers: Workers | None = None,
) -> Iterator[list[LinkedText]]:
    """Link texts, keeping their order.

    texts (Iterable[LinkedText]): The texts; their fields are kept. Some batches for each worker are
        read ahead, at most some seconds' work; none with a `batch_size` of 1 and no workers.
    batch_size (int): Texts per batch.
    on_linked (Callable): Called with the texts just linked, for a progress bar.
    workers (Workers | None): Processes that have the same pipeline; None to link in this process.
    YIELDS (list[LinkedText]): The next texts, with the spans that the pipeline linked.
    """
    ahead = batch_size * BATCHES_AHEAD if batch_size > 1 else 1
    pace = AdaptiveChunkSize(max(1, batch_size // BATCHES_AHEAD), ahead)
    chunks = _chunks(texts, pace, nlp.max_length)
    linked: Iterable[tuple[list[LinkedText], list[TextLinks], float]] = (
        ((chunk, *link_texts(nlp, _texts(chunk), batch_size, on_linked)) for chunk in chunks)
        if workers is None
        else workers.link(chunks, batch_size, on_linked)
    )
    for chunk, spans, seconds in linked:
        pace.record(len(chunk), seconds)
        yield [replace(text, spans=found) for text, found in zip(chunk, spans, strict=True)]


def _texts(texts: Sequence[LinkedText]) -> list[str]:
    return [text.text for text in texts]


def _chunks(
    texts: Iterable[LinkedText], pace: AdaptiveChunkSize, max_length: int
) -> Iterator[list[LinkedText]]:
    """YIELDS (list[LinkedText]): The next texts; an ElqError for a text that can't be read."""
    chunk: list[LinkedText] = []
    chars = 0
    for text in texts:
        check_text(text.text, max_length)
        chunk.append(text)
        chars += len(text.text)
        if len(chunk) >= pace.size or chars >= CHARS_AHEAD:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk
