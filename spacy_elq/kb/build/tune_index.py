"""Tune the search of an index: the cheapest settings that find what exact search finds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..search.faiss_index import FaissIndex, SearchSettings
from ..search.file_vectors import FileVectorStore

# Entities per query that recall counts.
NEIGHBOURS = 10
# Numbers of vectors to score exactly.
RERANK_SIZES = (50, 100, 200, 400)
# Scoring one vector exactly takes as long as scoring this many codes of an index.
EXACT_COST = 40
SYNTHETIC_QUERIES, MAX_QUERIES = 500, 1000
# Distance of a synthetic query from its vector, as a share of the distance between two vectors.
NOISE = 0.5
# Searches that are timed.
TIMED = 30


class Queries(NamedTuple):
    """Query vectors to tune an index with.

    vectors (ndarray): (M, h), float32.
    source (str): Where they come from; kept in the manifest.
    """

    vectors: np.ndarray
    source: str


def synthetic_queries(vectors: np.ndarray, count: int = SYNTHETIC_QUERIES) -> Queries:
    """Make queries that are distributed like the vectors but differ from all of them: each is a
    vector, moved by the difference of two others.

    vectors (ndarray): (V, h).
    RETURNS (Queries): `count` of them at most.
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
    table: FileVectorStore, exact: FileVectorStore, queries: Queries, min_recall: float
) -> SearchSettings:
    """Find the cheapest settings that reach a recall; if none do, those with the highest recall.

    table (FileVectorStore): Searches with the index.
    exact (FileVectorStore): Searches the same vectors without it.
    min_recall (float): The recall to reach.
    RETURNS (SearchSettings): For the manifest.
    """
    index = table.index
    if index is None:
        raise TypeError("only an index can be tuned")
    vectors = queries.vectors
    truth = exact.search(vectors, min(NEIGHBOURS, table.entities)).rows
    index.effort, table.rerank = _choose(table, index, vectors, truth, min_recall)
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
    table: FileVectorStore,
    index: FaissIndex,
    queries: np.ndarray,
    truth: np.ndarray,
    min_recall: float,
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
            # Both halves of the queries must reach it, so that luck does not decide.
            halves = min(recall(truth[half::2], found[half::2]) for half in (0, 1))
            tried.append(_Trial(halves, scanned + EXACT_COST * rerank, effort, rerank))
            if halves >= min_recall:
                cheapest = min(cheapest, tried[-1].cost)
    enough = [trial for trial in tried if trial.recall >= min_recall]
    if enough:
        chosen = min(enough, key=lambda trial: trial.cost)
    else:
        chosen = max(tried, key=lambda trial: (trial.recall, -trial.cost))
    return chosen.effort, chosen.rerank


class _Trial(NamedTuple):
    """Settings, their recall, and their cost as a number of scored codes."""

    recall: float
    cost: float
    effort: int
    rerank: int


def efforts(index: FaissIndex) -> Iterator[int]:
    """YIELDS (int): Efforts to try, ascending, each twice the one before."""
    effort = index.min_effort
    while effort < index.max_effort:
        yield effort
        effort *= 2
    yield index.max_effort


def recall(truth: np.ndarray, found: np.ndarray) -> float:
    """RETURNS (float): Share of the rows in `truth` (M, k) that the same line of `found` (M, n)
    contains, 0 to 1; padding with -1 does not count."""
    there = (truth[:, :, None] == found[:, None, :]).any(axis=2)
    wanted = truth >= 0
    return float(there[wanted].mean()) if wanted.any() else 1.0


def subsample(vectors: np.ndarray, size: int) -> np.ndarray:
    """RETURNS (ndarray): Evenly spaced rows, `size` of them at most."""
    rows = np.linspace(0, len(vectors) - 1, min(size, len(vectors)), dtype=np.int64)
    return vectors[rows]


def _milliseconds(table: FileVectorStore, queries: np.ndarray) -> float:
    times = []
    for i in range(min(TIMED, len(queries))):
        start = time.perf_counter()
        table.search(queries[i : i + 1], NEIGHBOURS)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))
