"""Link any number of texts in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from spacy.language import Language
from spacy.tokens import Doc

from .corpora.predictions import linked_spans
from .corpora.spans import Row, check_text

# Batches that are read ahead, to be sorted by length: little of a padded batch is padding then.
BATCHES_AHEAD = 32
# Characters that are read ahead at most, but for one text.
CHARS_AHEAD = 1 << 22


def link_rows(
    nlp: Language,
    rows: Iterable[Row],
    batch_size: int = 64,
    watch: Callable[[Iterator[Doc]], Iterable[Doc]] = iter,
) -> Iterator[list[Row]]:
    """Link texts in the order they come.

    rows (Iterable[Row]): The texts, with fields that are kept. Read ahead by some batches, and not
        at all with a `batch_size` of 1.
    batch_size (int): Texts a batch.
    watch (Callable): Wraps the stream of linked documents, for example in a progress bar.
    YIELDS (list[Row]): The next of the rows, with the spans that the pipeline linked.
    """
    ahead = batch_size * BATCHES_AHEAD if batch_size > 1 else 1
    for chunk in _chunks(rows, ahead):
        for row in chunk:
            check_text(row.text, nlp.max_length)
        yield _link(nlp, chunk, batch_size, watch)


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    chars = 0
    for row in rows:
        chunk.append(row)
        chars += len(row.text)
        if len(chunk) == size or chars >= CHARS_AHEAD:
            yield chunk
            chunk, chars = [], 0
    if chunk:
        yield chunk


def _link(
    nlp: Language,
    rows: Sequence[Row],
    batch_size: int,
    watch: Callable[[Iterator[Doc]], Iterable[Doc]],
) -> list[Row]:
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].text))
    linked = list(rows)
    # Strings that only these texts have are forgotten at the end: nothing of a document is kept.
    with nlp.memory_zone():
        docs = nlp.pipe((rows[i].text for i in order), batch_size=batch_size)
        for i, doc in zip(order, watch(docs), strict=True):
            linked[i] = Row(rows[i].text, linked_spans(doc), rows[i].fields)
    return linked
