"""Link any number of texts in bounded memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from spacy.language import Language

from .corpora.predictions import linked_spans
from .corpora.spans import Row, RowSpan, check_text
from .pace import Pace

if TYPE_CHECKING:
    from .workers import Workers

# Batches that are read ahead at most, to be sorted by length.
BATCHES_AHEAD = 8
# Characters that are read ahead at most, but for one text.
CHARS_AHEAD = 1 << 22

# The links of one text.
Spans = tuple[RowSpan, ...]
# Called with the number of texts that were linked since the last call.
Watch = Callable[[int], object]


def _unwatched(texts: int) -> None:
    """Show nobody how far it is."""


def link_rows(
    nlp: Language,
    rows: Iterable[Row],
    batch_size: int,
    *,
    watch: Watch = _unwatched,
    workers: Workers | None = None,
) -> Iterator[list[Row]]:
    """Link texts in the order they come.

    rows (Iterable[Row]): The texts, with fields that are kept. Read ahead by some batches for each
        worker, some seconds' work at most; not at all with a `batch_size` of 1 and no workers.
    batch_size (int): Texts a batch.
    watch (Callable): Called with the number of texts that were linked since, for a progress bar.
    workers (Workers | None): Processes that have the same pipeline; in this process where None.
    YIELDS (list[Row]): The next of the rows, with the spans that the pipeline linked.
    """
    ahead = batch_size * BATCHES_AHEAD if batch_size > 1 else 1
    pace = Pace(max(1, batch_size // BATCHES_AHEAD), ahead)
    chunks = _chunks(rows, pace, nlp.max_length)
    linked: Iterable[tuple[list[Row], list[Spans], float]] = (
        ((chunk, *link_texts(nlp, _texts(chunk), batch_size, watch)) for chunk in chunks)
        if workers is None
        else workers.link(chunks, batch_size, watch)
    )
    for chunk, spans, seconds in linked:
        pace.took(len(chunk), seconds)
        yield [replace(row, spans=found) for row, found in zip(chunk, spans, strict=True)]


def link_texts(
    nlp: Language, texts: Sequence[str], batch_size: int, watch: Watch = _unwatched
) -> tuple[list[Spans], float]:
    """RETURNS (tuple[list[Spans], float]): The links of each text, which are all held at once, and
    the seconds that they took."""
    began = time.perf_counter()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    linked: list[Spans] = [()] * len(texts)
    # Strings that only these texts have are forgotten at the end: nothing of a document is kept.
    with nlp.memory_zone():
        docs = nlp.pipe((texts[i] for i in order), batch_size=batch_size)
        for i, doc in zip(order, docs, strict=True):
            linked[i] = linked_spans(doc)
            watch(1)
    _give_back_memory()
    return linked, time.perf_counter() - began


def _give_back_memory() -> None:
    """Where the C library is glibc: of freed arrays of ever other sizes it keeps more and more."""
    trim = getattr(ctypes.pythonapi, "malloc_trim", None)
    if trim is not None:
        trim(0)


def _texts(rows: Sequence[Row]) -> list[str]:
    return [row.text for row in rows]


def _chunks(rows: Iterable[Row], pace: Pace, max_length: int) -> Iterator[list[Row]]:
    """YIELDS (list[Row]): The next rows; an ElqError for a text that can't be read."""
    chunk: list[Row] = []
    chars = 0
    for row in rows:
        check_text(row.text, max_length)
        chunk.append(row)
        chars += len(row.text)
        if len(chunk) >= pace.size or chars >= CHARS_AHEAD:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk
