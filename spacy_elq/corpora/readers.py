"""Corpus readers for `[corpora.*]` blocks of a config."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from ..encoders.model_paths import MINILM
from ..errors import ElqError, Errors
from .elq_format import ElqReader
from .entity_lines import EntityLines
from .spans_jsonl import ConversionStats, LinkedText, docs_from_texts, read_spans_jsonl
from .wordpieces import Wordpieces

Corpus = Callable[[Language], Iterator[Example]]


def create_spans_jsonl_reader(path: str | Path | None, limit: int = 0) -> Corpus:
    """Read training or evaluation examples from spans JSONL, gzipped or not.

    Registered as "spacy-elq.SpansJsonl.v1". Order is the file's; `spacy train` shuffles.

    path (str | Path | None): The file. Checked when the reader is called, since configs are
        resolved before their paths are needed.
    limit (int): Read no more than this many texts; 0 reads all.
    RETURNS (Callable[[Language], Iterator[Example]]): The corpus.
    """

    def read(nlp: Language) -> Iterator[Example]:
        rows = islice(read_spans_jsonl(_existing(path)), limit or None)
        yield from _examples(nlp, rows, None)

    return read


def create_elq_jsonl_reader(
    path: str | Path | None,
    entities: str | Path | None = None,
    tokenizer: str = MINILM,
    limit: int = 0,
    shuffle_buffer: int = 0,
) -> Corpus:
    """Read examples from ELQ's `tokenized/*.jsonl`, gzipped or not, a line at a time.

    Registered as "spacy-elq.ElqJsonl.v1". With `max_epochs = -1` spaCy streams a corpus and does
    not shuffle it: files larger than memory can be trained on, and `shuffle_buffer` shuffles.

    path (str | Path | None): The file. Checked when the reader is called.
    entities (str | Path | None): ELQ's entity.jsonl, or the knowledge base directory made of it:
        which entity a `label_id` is. Without it, rows must have `wikidata_id`.
    tokenizer (str): Whose wordpieces `tokenized_text_ids` are; needed only by rows without
        character offsets.
    limit (int): Read no more than this many texts; 0 reads all.
    shuffle_buffer (int): Draw each text at random from this many that were read ahead; 0 keeps the
        file's order.
    RETURNS (Callable[[Language], Iterator[Example]]): The corpus.
    """

    @cache
    def lines() -> EntityLines | None:  # read through once, not at every pass over the texts
        return EntityLines(entities) if entities else None

    def read(nlp: Language) -> Iterator[Example]:
        file, stats = _existing(path), ConversionStats()
        rows = ElqReader(Wordpieces(tokenizer), lines(), stats).read(file)
        some = islice(rows, limit or None)
        yield from _examples(nlp, shuffled(some, shuffle_buffer), stats)
        stats.warn()

    return read


def shuffled(rows: Iterable[LinkedText], buffer: int) -> Iterator[LinkedText]:
    """Shuffle a stream within a buffer, with Python's random generator, which spaCy seeds.

    buffer (int): Rows that are kept at once; with fewer than two the order stays.
    YIELDS (LinkedText): Each row once.
    """
    kept: list[LinkedText] = []
    for row in rows:
        if len(kept) < buffer:
            kept.append(row)
            continue
        if not kept:
            yield row
            continue
        i = random.randrange(len(kept))
        yield kept[i]
        kept[i] = row
    random.shuffle(kept)
    yield from kept


def _existing(path: str | Path | None) -> Path:
    if not path or not Path(path).is_file():
        raise ElqError(Errors.ELQ313.format(path=path))
    return Path(path)


def _examples(
    nlp: Language, rows: Iterable[LinkedText], stats: ConversionStats | None
) -> Iterator[Example]:
    for reference in docs_from_texts(nlp, rows, stats):
        yield Example(nlp.make_doc(reference.text), reference)
