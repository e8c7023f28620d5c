"""What a knowledge base asks of whatever holds the vectors of its immutable entities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from ..files.store import Manifest


class SearchResult(NamedTuple):
    """Entities found for M queries.

    rows (ndarray): (M, K), int64, distinct within a query; -1 where there are fewer than K.
    scores (ndarray): (M, K), float32, descending, equal scores by row; -inf where there are fewer.
    """

    rows: np.ndarray
    scores: np.ndarray


class VectorStore(Protocol):
    """Vectors of N entities, each of which owns one or more: in files of the directory
    (`vectors.VectorTable`), or behind a server.

    Entities are rows 0..N-1, those of the catalogue. Scores are exact inner products with an
    entity's best vector, whatever index finds the entities. `alive`, where given, is a bool mask
    (N,) over rows: entities that were removed or that a filter excludes are False. The same array
    object comes again as long as nothing changes, so what is made from it can be kept.
    """

    entities: int

    def search(self, queries: np.ndarray, k: int, alive: np.ndarray | None = None) -> SearchResult:
        """Find the k best entities of each query: k of them wherever so many are alive.

        queries (ndarray): (M, h), float32.
        RETURNS (SearchResult): (M, k).
        """
        ...

    def scores(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score given entities exactly as `search` does.

        rows (ndarray): Entity rows (M, C), -1 for none.
        RETURNS (ndarray): (M, C), float32; -inf where the row is -1.
        """
        ...

    def vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vectors of some entities.

        rows (ndarray): Entity rows (n,), -1 for none.
        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, those of one entity in the order
            in which its encoder made them, and the place in `rows` of the owner of each (V,),
            int64, ascending.
        """
        ...

    def matrix(self, alive: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple[ndarray, ndarray]): All vectors (V, h), float32, and the entity row of
        each (V,), int64, ascending."""
        ...

    def problems(self, manifest: Manifest) -> Iterator[str]:
        """YIELDS (str): Where the vectors contradict the manifest, for `kb check`; may read them
        all."""
        ...
