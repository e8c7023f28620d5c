"""How far an index must be searched to find what exact search finds: measured, on queries."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..search.faiss_index import FaissIndex, SearchSettings
from ..search.file_vectors import FileVectorStore

# Entities that recall is measured for.
NEIGHBOURS = 10
# Vectors that an index may be asked for, to be scored exactly.
RERANK_SIZES = (50, 100, 200, 400)
# Scoring one vector exactly costs as much as scoring so many codes.
EXACT_COST = 40
# Queries of the index where none are given, and most of any that are used.
HELD, MAX_QUERIES = 500, 1000
# How far a held query is from its vector, as a share of the distance between two vectors.
NOISE = 0.5
TIMED = 30


class Queries(NamedTuple):
    """Vectors that an index is tried with.

    vectors (ndarray): (M, h), float32.
    source (str): What they are.
    """

    vectors: np.ndarray
    source: str


def synthetic_queries(vectors: np.ndarray, count: int = HELD) -> Queries:
    """Queries like the vectors, but none of them: vectors moved by differences of other two.

    vectors (ndarray): (V, h).
    RETURNS (Queries): (M, h).
    """
    rng = np.random.default_rng(0)
    count = min(count, len(vectors))
    one, other, third = np.sort(rng.integers(len(vectors), size=(3, count)), axis=1)
    rng.shuffle(other)
    rng.shuffle(third)
    start, plus, minus = (np.asarray(vectors[rows], np.float32) for rows in (one, other, third))
    moved = start + NOISE * (plus - minus) / np.float32(np.sqrt(2))
    return Queries(moved, "entity vectors, moved")


def tune_search(
    table: FileVectorStore, exact: FileVectorStore, queries: Queries, least: float
) -> SearchSettings:
    """Find the cheapest settings whose recall is large enough, or else those of the largest.

    table (FileVectorStore): With the index.
    exact (FileVectorStore): The same without.
    least (float): The recall wanted.
    RETURNS (SearchSettings): To be kept.
    """
    index = table.index
    if index is None:
        raise TypeError("only an index can be tuned")
    vectors = queries.vectors
    truth = exact.search(vectors, min(NEIGHBOURS, table.entities)).rows
    index.effort, table.rerank = _choose(table, index, vectors, truth, least)
    found = table.search(vectors, truth.shape[1]).rows
    return SearchSettings(
        effort=index.effort,
        rerank=table.rerank,
        recall=round(recall(truth, found), 4),
        queries=queries.source,
        sample=len(vectors),
        ms=round(_milliseconds(table, vectors), 3),
        exact_ms=round(_milliseconds(exact, vectors[:3]), 1),
    )


def _choose(
    table: FileVectorStore, index: FaissIndex, queries: np.ndarray, truth: np.ndarray, least: float
) -> tuple[int, int]:
    """RETURNS (tuple[int, int]): Effort and rerank."""
    tried: list[_Trial] = []
    cheapest = np.inf
    for effort in efforts(index):
        scanned = len(table.vectors) * effort / max(1, index.max_effort)
        if scanned >= cheapest:
            break
        most = min(RERANK_SIZES[-1], len(table.vectors))
        _, vector_rows = index.search(queries, most, effort=effort)
        for rerank in RERANK_SIZES:
            found = table.owners_of(vector_rows[:, :rerank])
            # Not by the luck of some queries: either half must do.
            halves = min(recall(truth[half::2], found[half::2]) for half in (0, 1))
            tried.append(_Trial(halves, scanned + EXACT_COST * rerank, effort, rerank))
            if halves >= least:
                cheapest = min(cheapest, tried[-1].cost)
    enough = [trial for trial in tried if trial.recall >= least]
    if enough:
        chosen = min(enough, key=lambda trial: trial.cost)
    else:
        chosen = max(tried, key=lambda trial: (trial.recall, -trial.cost))
    return chosen.effort, chosen.rerank


class _Trial(NamedTuple):
    """Settings, what they find, and their cost in codes scored."""

    recall: float
    cost: float
    effort: int
    rerank: int


def efforts(index: FaissIndex) -> Iterator[int]:
    """YIELDS (int): Efforts to try, from the least that makes sense, each twice the last."""
    effort = index.min_effort
    while effort < index.max_effort:
        yield effort
        effort *= 2
    yield index.max_effort


def recall(truth: np.ndarray, found: np.ndarray) -> float:
    """RETURNS (float): Share of the rows in `truth` (M, k) that are in the same line of `found`
    (M, n), 0 to 1; padding with -1 does not count."""
    there = (truth[:, :, None] == found[:, None, :]).any(axis=2)
    wanted = truth >= 0
    return float(there[wanted].mean()) if wanted.any() else 1.0


def subsample(vectors: np.ndarray, most: int) -> np.ndarray:
    """RETURNS (ndarray): At most so many of the rows, evenly spread."""
    places = np.linspace(0, len(vectors) - 1, min(most, len(vectors)), dtype=np.int64)
    return vectors[places]


def _milliseconds(table: FileVectorStore, queries: np.ndarray) -> float:
    times = []
    for i in range(min(TIMED, len(queries))):
        start = time.perf_counter()
        table.search(queries[i : i + 1], NEIGHBOURS)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
