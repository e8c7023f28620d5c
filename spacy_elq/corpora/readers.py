"""Corpus readers for the `[corpora.*]` blocks of a config."""

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

    Registered as "spacy-elq.SpansJsonl.v1". Keeps the order of the file; `spacy train` shuffles.

    path (str | Path | None): The file. Checked when the reader is called, since configs are
        resolved before their paths are needed.
    limit (int): Maximum number of texts to read; 0 reads all.
    RETURNS (Callable[[Language], Iterator[Example]]): The corpus.
    """

    def read(nlp: Language) -> Iterator[Example]:
        texts = islice(read_spans_jsonl(_existing(path)), limit or None)
        yield from examples(nlp, texts, None)

    return read


def create_elq_jsonl_reader(
    path: str | Path | None,
    entities: str | Path | None = None,
    tokenizer: str = MINILM,
    limit: int = 0,
    shuffle_buffer: int = 0,
) -> Corpus:
    """Stream examples from ELQ's `tokenized/*.jsonl`, gzipped or not.

    Registered as "spacy-elq.ElqJsonl.v1". With `max_epochs = -1` spaCy streams a corpus without
    shuffling it, so that files larger than memory can be trained on; `shuffle_buffer` shuffles.

    path (str | Path | None): The file. Checked when the reader is called.
    entities (str | Path | None): ELQ's entity.jsonl, or the knowledge base directory built from
        it, which maps `label_id` to entities. Without it, lines must have `wikidata_id`.
    tokenizer (str): The tokenizer of `tokenized_text_ids`; needed only by lines without character
        offsets.
    limit (int): Maximum number of texts to read; 0 reads all.
    shuffle_buffer (int): Number of texts to read ahead and draw from at random; 0 keeps the order
        of the file.
    RETURNS (Callable[[Language], Iterator[Example]]): The corpus.
    """

    @cache
    def lines() -> EntityLines | None:  # read once, not at every pass over the texts
        return EntityLines(entities) if entities else None

    def read(nlp: Language) -> Iterator[Example]:
        file, stats = _existing(path), ConversionStats()
        texts = ElqReader(Wordpieces(tokenizer), lines(), stats).read(file)
        limited = islice(texts, limit or None)
        yield from examples(nlp, shuffle_stream(limited, shuffle_buffer), stats)
        stats.warn()

    return read


def shuffle_stream(texts: Iterable[LinkedText], buffer: int) -> Iterator[LinkedText]:
    """Shuffle a stream within a buffer, with Python's random generator, which spaCy seeds.

    buffer (int): Number of texts in the buffer; with fewer than two the order stays.
    YIELDS (LinkedText): Each text once.
    """
    kept: list[LinkedText] = []
    for linked in texts:
        if len(kept) < buffer:
            kept.append(linked)
        elif not kept:
            yield linked
        else:
            i = random.randrange(len(kept))
            yield kept[i]
            kept[i] = linked
    random.shuffle(kept)
    yield from kept


def _existing(path: str | Path | None) -> Path:
    if not path or not Path(path).is_file():
        raise ElqError(Errors.ELQ313.format(path=path))
    return Path(path)


def examples(
    nlp: Language, texts: Iterable[LinkedText], stats: ConversionStats | None
) -> Iterator[Example]:
    """YIELDS (Example): Texts without and with their gold mentions; see `docs_from_texts`."""
    for reference in docs_from_texts(nlp, texts, stats):
        yield Example(nlp.make_doc(reference.text), reference)
