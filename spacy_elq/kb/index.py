"""Nearest-neighbour search over vectors: exact, or by a FAISS index."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import ElqError, Errors
from .store import EXACT

if TYPE_CHECKING:
    import torch

# Scores held at once by the exact search, as (queries x vectors): 64 MB of float32.
SCORES_AT_ONCE = 1 << 24
# Vectors given to a FAISS index at once while it is built.
ADD_AT_ONCE = 1 << 16
GROUP = 64


class VectorIndex(Protocol):
    """What a knowledge base asks of an index.

    exact (bool): Whether the neighbours found are always the true ones.
    """

    exact: bool

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the vectors with the largest inner products.

        queries (ndarray): (M, h), float32.
        RETURNS (tuple[ndarray, ndarray]): Scores (M, k) float32, descending, and vector rows
            (M, k) int64; -inf and -1 where there are fewer than k.
        """
        ...


class ExactIndex:
    """Search by multiplying with every vector: the fastest way up to some 100,000 of them.

    vectors (ndarray): (V, h), float32 or float16; may be memory-mapped.
    """

    exact = True

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    @cached_property
    def _tensor(self) -> torch.Tensor:
        return as_tensor(self.vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        step = max(1, SCORES_AT_ONCE // max(1, len(queries)))
        scores, rows = top_k(products(queries, self._tensor[:step]), k)
        for start in range(step, len(self.vectors), step):
            more_scores, more_rows = top_k(products(queries, self._tensor[start : start + step]), k)
            more_rows[more_rows >= 0] += start
            scores, rows = best(
                np.concatenate([scores, more_scores], axis=1),
                np.concatenate([rows, more_rows], axis=1),
                k,
            )
        return scores, rows


class FaissIndex:
    """Search by a FAISS index that is kept in a file and memory-mapped where its kind allows it.

    index (faiss.Index): Inner-product index whose ids are vector rows.
    """

    exact = False

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def build(cls, path: Path, vectors: np.ndarray, spec: str) -> FaissIndex:
        """Train an index, add all vectors and write it.

        path (Path): The file to write.
        spec (str): FAISS factory string, for example "SQfp16" or "HNSW32".
        """
        import faiss

        index = _factory(vectors.shape[1], spec)
        try:
            if not index.is_trained:
                index.train(np.asarray(vectors, dtype=np.float32))
            for start in range(0, len(vectors), ADD_AT_ONCE):
                index.add(np.asarray(vectors[start : start + ADD_AT_ONCE], dtype=np.float32))
        except RuntimeError as err:  # too few vectors to train on, above all
            raise ElqError(Errors.ELQ215.format(spec=spec, reason=_last_line(err))) from None
        _set_effort(index)
        faiss.write_index(index, str(path))
        return cls(index)

    @classmethod
    def open(cls, path: Path) -> FaissIndex:
        """Map an index file. How much of the index is searched is what the file says."""
        import faiss

        # Older releases map inverted lists only, newer ones flat codes too.
        flags = getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP)
        return cls(faiss.read_index(str(path), flags))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = self.index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return best(np.where(rows < 0, -np.inf, scores).astype(np.float32), rows, k)


def check_spec(spec: str, width: int) -> str:
    """Check an index before hours are spent on its vectors.

    spec (str): "auto", "exact" or a FAISS factory string.
    RETURNS (str): "exact" or the factory string.
    """
    if spec in ("auto", EXACT):
        return EXACT
    _factory(width, spec)
    return spec


def _factory(width: int, spec: str) -> Any:
    import faiss

    try:
        return faiss.index_factory(width, spec, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as err:
        raise ElqError(Errors.ELQ215.format(spec=spec, reason=_last_line(err))) from None


def _last_line(err: Exception) -> str:
    return str(err).strip().splitlines()[-1]


def _set_effort(index: Any) -> None:
    """Search a good part of the lists or the graph; FAISS's own defaults find too little."""
    import faiss

    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = max(8, index.nlist // 16)
    elif isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = 256


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """RETURNS (Tensor): The array's own memory as a torch tensor, to be read only."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array))


def products(queries: np.ndarray, vectors: torch.Tensor) -> np.ndarray:
    """Inner products of queries and vectors.

    torch's matrix product is about twice as fast here as numpy's and FAISS's, and its number of
    threads is the one that the rest of a pipeline obeys.

    queries (ndarray): (M, h), float32.
    vectors (Tensor): (V, h), float32 or float16.
    RETURNS (ndarray): (M, V), float32.
    """
    return (as_tensor(queries) @ vectors.float().T).numpy()


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row of a wide matrix, in about two passes over it.

    scores (ndarray): (M, V), float32.
    RETURNS (tuple[ndarray, ndarray]): Scores and columns, (M, k), as `VectorIndex.search`.
    """
    bounds = _lower_bounds(scores, k)
    # Five times as fast as np.nonzero on two dimensions.
    owner, column = np.divmod(np.flatnonzero(scores >= bounds[:, None]), scores.shape[1] or 1)
    counts = np.bincount(owner, minlength=len(scores))
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(k, int(counts.max(initial=0)))
    found = np.full((len(scores), width), -np.inf, dtype=np.float32)
    columns = np.full((len(scores), width), -1, dtype=np.int64)
    found[owner, place] = scores[owner, column]
    columns[owner, place] = column
    return best(found, columns, k)


def _lower_bounds(scores: np.ndarray, k: int) -> np.ndarray:
    """A bound (M,) that at least k scores of each row reach, and few more.

    The k-th largest of the maxima of groups is such a bound: k groups hold a score that large.
    """
    groups = scores.shape[1] // GROUP
    if groups < max(1, k):
        return np.full(len(scores), -np.inf, dtype=np.float32)
    # Strided groups (column j, j + groups, ...) make this a maximum of whole slices.
    grouped = scores[:, : groups * GROUP].reshape(len(scores), GROUP, groups)
    return np.partition(grouped.max(axis=1), groups - k, axis=1)[:, groups - k]


def best(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort by falling score, equal scores by rising row, and keep k.

    scores (ndarray): (M, n), float32; -inf where the row is -1.
    rows (ndarray): (M, n), int64.
    RETURNS (tuple[ndarray, ndarray]): (M, k) each, padded with -inf and -1.
    """
    # Plain indexing takes a third of the time of np.take_along_axis.
    chosen = np.arange(len(scores))[:, None], np.lexsort((rows, -scores), axis=1)[:, :k]
    scores, rows = scores[chosen], rows[chosen]
    missing = ((0, 0), (0, k - scores.shape[1]))
    if missing[1][1] > 0:
        scores = np.pad(scores, missing, constant_values=-np.inf)
        rows = np.pad(rows, missing, constant_values=-1)
    return scores, rows
