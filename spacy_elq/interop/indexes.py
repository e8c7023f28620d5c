"""Checks of the FAISS files that ELQ wrote (their names end in .pkl)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ElqError, Errors
from ..files import check_file
from ..kb.files.manifest import EXACT

if TYPE_CHECKING:
    from ..kb.build.vector_source import VectorRows
    from ..kb.search.faiss_index import FaissIndex

# Vectors that an index is tested with, neighbours to retrieve, and the tolerance of a score.
SAMPLES, NEIGHBOURS, TOLERANCE = 8, 10, 1e-3


def check_faiss_file(path: Path, vectors: VectorRows) -> str:
    """Check that an index was built from the given vectors.

    path (Path): Flat, HNSW or IVF-flat index over inner products.
    vectors (VectorRows): One row per entity.
    RETURNS (str): The FAISS factory string of such an index; "exact" for a flat one, which is
        redundant beside the vectors.
    RAISES (ElqError): If it is damaged, of another kind, or was built from other vectors.
    """
    from ..kb.search.faiss_index import FaissIndex

    check_file(path, "index")
    try:
        index = FaissIndex.open(path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ElqError(
            Errors.ELQ502.format(path=path, kind="a FAISS index", reason=reason)
        ) from None
    spec = _spec(path, index.index)
    found, expected = (index.index.ntotal, index.index.d), tuple(vectors.shape)
    if found != expected:
        raise ElqError(
            Errors.ELQ508.format(path=path, found=_size(found), expected=_size(expected))
        )
    if not _has_vectors(index, vectors):
        raise ElqError(Errors.ELQ509.format(path=path))
    return spec


def _spec(path: Path, index: Any) -> str:
    import faiss

    index = faiss.downcast_index(index)
    kind = type(index).__name__
    if index.metric_type == faiss.METRIC_INNER_PRODUCT:
        if isinstance(index, faiss.IndexFlat):
            return EXACT
        if isinstance(index, faiss.IndexHNSWFlat):
            return f"HNSW{index.hnsw.nb_neighbors(1)}"  # type: ignore[attr-defined]
        if isinstance(index, faiss.IndexIVFFlat):
            return f"IVF{index.nlist},Flat"
    metric = "inner product" if index.metric_type == faiss.METRIC_INNER_PRODUCT else "distance"
    raise ElqError(Errors.ELQ510.format(path=path, found=f"{kind}, {metric}"))


def _has_vectors(index: FaissIndex, vectors: VectorRows) -> bool:
    """Whether the scores of a few neighbours are their inner products."""
    places = np.unique(np.linspace(0, vectors.shape[0] - 1, SAMPLES, dtype=np.int64))
    queries = _rows(vectors, places)
    scores, rows = index.search(queries, min(NEIGHBOURS, vectors.shape[0]))
    for query, its_scores, its_rows in zip(queries, scores, rows, strict=True):
        there = its_rows >= 0
        products = _rows(vectors, its_rows[there]) @ query
        if not np.allclose(products, its_scores[there], rtol=TOLERANCE, atol=TOLERANCE):
            return False
    return True


def _rows(vectors: VectorRows, places: Sequence[int] | np.ndarray) -> np.ndarray:
    rows = [vectors[int(i) : int(i) + 1] for i in places]
    return np.concatenate(rows).astype(np.float32)


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
