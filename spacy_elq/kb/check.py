"""Is a knowledge base whole, and does its index find what it should?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import ElqError, Errors
from .base import Base
from .knowledge_base import FaissKB
from .vectors import VectorTable

# Vectors that the index is tried with.
SAMPLE = 200


def check_files(kb: FaissKB) -> None:
    """Raise an ElqError if a file changed since the build, or if the files contradict each other.

    Reads every byte of the files.
    """
    if kb.path is None or kb.base is None:
        return
    kb.manifest.verify(kb.path)
    for problem in _contradictions(kb.base):
        raise ElqError(Errors.ELQ223.format(path=kb.path, problem=problem))


def _contradictions(base: Base) -> Iterator[str]:
    manifest, rows = base.manifest, base.names.entries["row"]
    if len(base.catalogue) != manifest.entities:
        yield f"there are {len(base.catalogue)} records for {manifest.entities} entities"
    yield from base.table.problems(manifest)
    if len(rows) and not 0 <= rows.min() <= rows.max() < manifest.entities:
        yield "a name leads to an entity that is not there"
    if (base.names.keys[1:] < base.names.keys[:-1]).any():
        yield "the names are not sorted"


def index_recall(kb: FaissKB, k: int = 10, sample: int = SAMPLE) -> float:
    """How much of the true answer the index finds.

    k (int): Entities asked for.
    sample (int): How many entity vectors, evenly spread, are used as queries.
    RETURNS (float): Share of the exact top k that is among the k found, 0 to 1.
    """
    if kb.base is None:
        return 1.0
    table = kb.base.table
    if not isinstance(table, VectorTable):
        return 1.0
    places = np.linspace(0, len(table.owners) - 1, min(sample, len(table.owners)), dtype=np.int64)
    queries = np.asarray(table.vectors[places], dtype=np.float32)
    k = min(k, table.entities)
    exact = VectorTable(table.vectors, table.owners, table.entities).search(queries, k).rows
    found = table.search(queries, k).rows
    return float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())
