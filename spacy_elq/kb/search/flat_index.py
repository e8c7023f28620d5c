"""Exact nearest-neighbour search over vectors."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Number of queries compared at once: the scores of more don't fit the processor's cache.
QUERIES_AT_ONCE = 128
# Up to so many queries, as those of a single text, and from so many numbers on, which exceed the
# processor's cache, torch multiplies vectors by queries two to four times as fast as the reverse.
FEW_QUERIES, MANY_NUMBERS = 8, 1 << 22
# Scores held at once by the exact search, as (queries x vectors): 64 MB of float32.
SCORES_AT_ONCE = 1 << 24
# Numbers converted to float32 at once, if vectors are stored as float16: 64 MB.
CONVERTED_AT_ONCE = 1 << 24
# The first bound compares the maxima of groups of this many scores. Groups are smaller if there
# would otherwise be too few of them per wanted score.
GROUP = 64
GROUPS_PER_SCORE = 4


class FlatIndex:
    """Search by multiplying with every vector: the fastest way up to some 100,000 vectors.

    vectors (ndarray): (V, h), float32 or float16; may be memory-mapped.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    @cached_property
    def _tensor(self) -> torch.Tensor:
        return as_tensor(self.vectors)

    def search(
        self, queries: np.ndarray, k: int, live: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the vectors with the largest inner products.

        queries (ndarray): (M, h), float32.
        live (ndarray | None): Mask (V,) of the vectors that may be found; None for all.
        RETURNS (tuple[ndarray, ndarray]): Scores (M, k) float32, descending, and vector rows
            (M, k) int64, padded with -inf and -1.
        """
        if len(queries) > QUERIES_AT_ONCE:
            parts = [
                self.search(queries[start : start + QUERIES_AT_ONCE], k, live)
                for start in range(0, len(queries), QUERIES_AT_ONCE)
            ]
            scores, rows = zip(*parts, strict=True)
            return np.concatenate(scores), np.concatenate(rows)
        step = max(1, SCORES_AT_ONCE // max(1, len(queries)))
        if self.vectors.dtype != np.float32:
            step = min(step, CONVERTED_AT_ONCE // self.vectors.shape[1])
        scores, rows = self._search_block(queries, k, live, slice(0, step))
        for start in range(step, len(self.vectors), step):
            more = self._search_block(queries, k, live, slice(start, start + step))
            scores, rows = best(
                np.concatenate([scores, more[0]], axis=1),
                np.concatenate([rows, more[1]], axis=1),
                k,
            )
        return scores, rows

    def _search_block(
        self, queries: np.ndarray, k: int, live: np.ndarray | None, block: slice
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = products(queries, self._tensor[block])
        if live is not None:
            scores += np.where(live[block], np.float32(0), -np.inf)
        found, rows = top_k(scores, k)
        rows[rows >= 0] += block.start
        if live is not None:
            rows[np.isneginf(found)] = -1
        return found, rows


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """RETURNS (Tensor): A read-only torch tensor that shares the array's memory."""
    import torch

    array = np.ascontiguousarray(array)
    if array.flags.writeable:  # as queries are: the filters of warnings are those of all threads
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def products(queries: np.ndarray, vectors: torch.Tensor) -> np.ndarray:
    """Compute the inner products of queries and vectors.

    torch's matrix product is about twice as fast here as numpy's and FAISS's, and uses the same
    number of threads as the rest of a pipeline.

    queries (ndarray): (M, h), float32.
    vectors (Tensor): (V, h), float32 or float16.
    RETURNS (ndarray): (M, V), float32.
    """
    asked, vectors = as_tensor(queries), vectors.float()
    if len(queries) <= FEW_QUERIES and vectors.numel() >= MANY_NUMBERS:
        return (vectors @ asked.T).T.contiguous().numpy()
    return (asked @ vectors.T).numpy()


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k largest scores in each row of a wide matrix, in about two passes over it.

    scores (ndarray): (M, V), float32.
    RETURNS (tuple[ndarray, ndarray]): Scores and columns (M, k), sorted as by `best`.
    """
    bounds = _lower_bounds(scores, k)
    # Five times as fast as np.nonzero in two dimensions.
    owner, column = np.divmod(np.flatnonzero(scores >= bounds[:, None]), scores.shape[1] or 1)
    counts = np.bincount(owner, minlength=len(scores))
    place = np.arange(len(owner)) - np.repeat(counts.cumsum() - counts, counts)
    width = max(k, int(counts.max(initial=0)))
    found = np.full((len(scores), width), -np.inf, dtype=np.float32)
    columns = np.full((len(scores), width), -1, dtype=np.int64)
    found[owner, place] = scores[owner, column]
    columns[owner, place] = column
    # Columns are in ascending order, so a stable sort is enough.
    order = np.arange(len(scores))[:, None], np.argsort(-found, axis=1, kind="stable")[:, :k]
    return found[order], columns[order]


def _lower_bounds(scores: np.ndarray, k: int) -> np.ndarray:
    """RETURNS (ndarray): A bound (M,) that at least k scores of each row reach, and few more.

    The k-th largest maximum of groups is such a bound: k groups have a score that large.
    """
    size = min(GROUP, scores.shape[1] // max(1, GROUPS_PER_SCORE * k))
    if size < 2 or not k:
        return np.full(len(scores), -np.inf, dtype=np.float32)
    groups = scores.shape[1] // size
    # Strided groups (column j, j + groups, ...) turn this into a maximum of whole slices.
    grouped = scores[:, : groups * size].reshape(len(scores), size, groups)
    return np.partition(grouped.max(axis=1), groups - k, axis=1)[:, groups - k]


def best(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort by descending score, equal scores by ascending row, and keep k.

    scores (ndarray): (M, n), float32; -inf if the row is -1.
    rows (ndarray): (M, n), int64.
    RETURNS (tuple[ndarray, ndarray]): (M, k) each, padded with -inf and -1.
    """
    # Plain indexing is three times as fast as np.take_along_axis.
    chosen = np.arange(len(scores))[:, None], np.lexsort((rows, -scores), axis=1)[:, :k]
    scores, rows = scores[chosen], rows[chosen]
    missing = ((0, 0), (0, k - scores.shape[1]))
    if missing[1][1] > 0:
        scores = np.pad(scores, missing, constant_values=-np.inf)
        rows = np.pad(rows, missing, constant_values=-1)
    return scores, rows
