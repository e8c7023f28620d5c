"""Mention vectors to tune an index with: the linker's own, or an approximation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..corpora.spans_jsonl import read_spans_jsonl
from ..errors import ElqError, Errors
from ..files import check_file, read_lines
from ..kb.build.tune_index import MAX_QUERIES, Queries
from ..kb.files.names import ENTRY
from ..kb.files.npy import read_array
from ..kb.search.file_vectors import check_queries
from ..types import Entity

if TYPE_CHECKING:
    from spacy.language import Language

    from ..kb.build.vector_source import EncodesEntities

# Characters of a mention, end exclusive.
CharSpan = tuple[int, int]
# Texts that a pipeline reads at once.
BATCH = 32


def read_queries(path: Path, encoder: EncodesEntities, nlp: Language | None = None) -> Queries:
    """Make queries from a file.

    path (Path): Mention vectors (.npy, float32 (M, h)), texts with mentions (spans JSONL), or lines
        of plain text.
    encoder (EncodesEntities): Encodes mentions as if they were entities, if there is no pipeline:
        similar to the queries of a linker, but not the same.
    nlp (Language): A trained pipeline, whose linker makes the vectors: of the given mentions, or of
        those that it finds in plain text.
    RETURNS (Queries): `MAX_QUERIES` at most.
    RAISES (ElqError): If there are none.
    """
    check_file(path, "queries file")
    if path.suffix == ".npy":
        return Queries(_read_vectors(path, encoder.width), path.name)
    texts = list(islice(_texts(path), MAX_QUERIES))
    if not texts:
        raise ElqError(Errors.ELQ228.format(path=path))
    if nlp is not None:
        vectors, how = mention_vectors(nlp, texts), "mentions as the linker sees them"
    else:
        mentions = [text[a:b] for text, spans in texts for a, b in spans or [(0, len(text))]]
        entities = [Entity("", mention) for mention in mentions[:MAX_QUERIES]]
        vectors, how = encoder.encode(entities)[0], "mentions, encoded as entities"
    if not len(vectors):
        raise ElqError(Errors.ELQ228.format(path=path))
    return Queries(vectors, f"{path.name}, {how}")


def _read_vectors(path: Path, width: int) -> np.ndarray:
    try:
        vectors = read_array(path)
        finite = np.isfinite(vectors).all()
    except (OSError, ValueError) as err:
        raise ElqError(Errors.ELQ257.format(path=path, reason=err)) from None
    if not finite:
        raise ElqError(Errors.ELQ257.format(path=path, reason="it holds NaN or infinite values"))
    if not len(check_queries(vectors, width)):
        raise ElqError(Errors.ELQ228.format(path=path))
    return vectors


def _texts(path: Path) -> Iterator[tuple[str, list[CharSpan]]]:
    """YIELDS (tuple): Each text and its mentions; plain text has none."""
    if path.suffix == ".jsonl":
        for row in read_spans_jsonl(path):
            yield row.text, [(span.start, span.end) for span in row.spans]
        return
    yield from ((line.rstrip("\r\n"), []) for _, line in read_lines(path) if line.strip())


def mention_vectors(nlp: Language, texts: Sequence[tuple[str, list[CharSpan]]]) -> np.ndarray:
    """The queries that a pipeline's linker sends to its knowledge base.

    texts (Sequence[tuple]): Texts with their mentions; if no text has any, the linker finds them.
    RETURNS (ndarray): (M, h), float32.
    """
    from ..linking.propose import propose_spans
    from ..pipeline.lookup import find_elq

    elq = find_elq(nlp)
    if elq is None:
        raise ElqError(Errors.ELQ403.format(name=nlp.meta["name"]))
    before = nlp.pipe_names[: nlp.pipe_names.index(elq.name)]
    queries = [np.zeros((0, elq.kb.entity_vector_length), np.float32)]
    known = any(spans for _, spans in texts)
    with nlp.select_pipes(enable=before):
        docs = list(nlp.pipe(text for text, _ in texts))
    for start in range(0, len(docs), BATCH):
        some = slice(start, start + BATCH)
        given = [spans for _, spans in texts[some]] if known else None
        found = propose_spans(elq.model, _NoNames(), docs[some], elq.settings, given)
        queries += [part.queries for part in chain.from_iterable(found)]
    return np.concatenate(queries)[:MAX_QUERIES]


class _NoNames:
    """The names of a knowledge base that does not exist yet."""

    capitalises_names = True

    def find_names(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=ENTRY)
