"""Check whether the files of a knowledge base are intact, and how much its index finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from ..errors import ElqError, Errors
from .build.index_stage import kept_queries
from .build.tune_index import recall, subsample, synthetic_queries
from .files.manifest import DELTA
from .knowledge_base import FaissKB
from .live.change_log import ChangeLog
from .live.delta import Change
from .live.directory import read_changes
from .search.file_vectors import FileVectorStore
from .search.stored_kb import StoredKB, open_exact_store

# Queries that the recall of the index is measured with.
SAMPLE = 200


def check_files(kb: FaissKB) -> None:
    """Raise an ElqError if a file changed since the build, or if the files or the changes on top of
    them contradict each other.

    Reads every byte of the files.
    """
    if kb.path is None:
        return
    kb.manifest.verify(kb.path)
    for problem in _contradictions(kb.view.base):
        raise ElqError(Errors.ELQ223.format(path=kb.path, problem=problem))
    log = ChangeLog(kb.manifest.home(kb.path) / DELTA, kb.manifest.identity)
    with closing(log):
        for problem in _wrong_changes(read_changes(log, kb.manifest), kb.view.base):
            raise ElqError(Errors.ELQ216.format(path=log.path, reason=problem))


def _wrong_changes(changes: Sequence[Change], base: StoredKB | None) -> Iterator[str]:
    ids = [change.id for change in changes]
    rows = base.catalogue.rows(ids) if base else [None] * len(ids)
    for change, row in zip(changes, rows, strict=True):
        if change.base_row != row:
            yield f"that of {change.id!r} replaces row {change.base_row} instead of {row}"
        yield from (f"that of {change.id!r} {problem}" for problem in change.contradictions())


def _contradictions(base: StoredKB | None) -> Iterator[str]:
    if base is None:
        return
    manifest, rows = base.manifest, base.names.entries["row"]
    if len(base.catalogue) != manifest.entities:
        yield f"there are {len(base.catalogue)} records for {manifest.entities} entities"
    yield from base.catalogue.problems()
    yield from base.vectors.problems(manifest)
    if len(rows) and not 0 <= rows.min() <= rows.max() < manifest.entities:
        yield "a name leads to an entity that is not there"
    if (base.names.keys[1:] < base.names.keys[:-1]).any():
        yield "the names are not sorted"


def index_recall(kb: FaissKB, k: int = 10, sample: int = SAMPLE) -> float:
    """Measure how much of the exact result the index finds.

    k (int): Number of entities per query.
    sample (int): Number of queries, taken from those that the index was tuned with.
    RETURNS (float): Share of the exact top k that is among the k found, 0 to 1.
    """
    base = kb.view.base
    exact = _exact(base)
    if base is None or exact is None:
        return 1.0
    queries = kept_queries(base.path, kb.manifest) or synthetic_queries(exact.vectors, sample)
    vectors = subsample(queries.vectors, sample)
    truth = exact.search(vectors, min(k, exact.entities)).rows
    return recall(truth, base.vectors.search(vectors, truth.shape[1]).rows)


def _exact(base: StoredKB | None) -> FileVectorStore | None:
    """RETURNS (FileVectorStore | None): The vectors, searched exactly; None if the knowledge base's
    own search is exact."""
    if base is None or base.vectors.is_exact:
        return None
    if isinstance(base.vectors, FileVectorStore):
        return open_exact_store(base.path, base.manifest)
    return FileVectorStore(*base.vectors.matrix(), len(base))
