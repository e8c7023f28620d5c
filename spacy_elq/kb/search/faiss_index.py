"""Approximate search by a memory-mapped FAISS index."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from ...errors import ElqError, Errors
from ..files.manifest import MAX_ROWS, first_problem
from .flat_index import best

# FAISS uses one thread for fewer queries than this: starting another one takes longer.
MANY_QUERIES = 16
# From this many queries on, flat search (mainly of the centres of lists) multiplies matrices, which
# is several times as fast as FAISS's own loops. FAISS's default is 128,000 queries.
BLAS_FROM = 20
# Vectors added to a flat index at once.
COPIED_AT_ONCE = 1 << 16
# The smallest efforts worth trying: lists visited, length of the queue.
FEWEST_LISTS, SHORTEST_QUEUE = 4, 64
# A forked process loses the threads of FAISS, and would wait for them forever.
_IMPORTED_BY = os.getpid()
# Fields of `SearchSettings` whose key in the manifest differs.
_KEYS = {"rerank": "depth"}
# How FAISS begins an error.
_PLACE = re.compile(r"^Error in .*\.(?:cpp|h):\d+: ")
# Methods that crash the process, or silently do nothing, on a mapped index.
_CHANGES = ("add", "add_with_ids", "remove_ids", "reset", "train", "merge_from")


class FaissIndex:
    """A FAISS index in a memory-mapped file.

    index (faiss.Index): Inner-product index whose ids are vector rows.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def open(cls, path: Path) -> FaissIndex:
        """Map an index file. Its effort is the one saved in the file."""
        import faiss

        # Older releases map inverted lists only, newer ones flat codes too.
        flags = getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP)
        # An index can name another file for its lists, to be opened for writing.
        flags |= faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR
        index = faiss.read_index(str(path), flags)
        for name in _CHANGES:
            setattr(index, name, _refuse_changes)
        return cls(index)

    @classmethod
    def flat(cls, vectors: np.ndarray) -> FaissIndex:
        """RETURNS (FaissIndex): An index that compares each query with all vectors."""
        import faiss

        index = faiss.IndexFlatIP(vectors.shape[1])
        for start in range(0, len(vectors), COPIED_AT_ONCE):
            index.add(np.asarray(vectors[start : start + COPIED_AT_ONCE], dtype=np.float32))
        return cls(index)

    def on_gpu(self, device: int) -> FaissIndex:
        """RETURNS (FaissIndex): A copy on a GPU."""
        return FaissIndex(to_gpu(self.index, device))

    @property
    def effort(self) -> int:
        """RETURNS (int): How much a search visits: the number of lists (nprobe) or the length of
        the queue in a graph (efSearch); 0 for an index that always visits everything."""
        ivf, hnsw = _ivf(self.index), _hnsw(self.index)
        return ivf.nprobe if ivf else hnsw.efSearch if hnsw else 0

    @effort.setter
    def effort(self, value: int) -> None:
        ivf, hnsw = _ivf(self.index), _hnsw(self.index)
        if ivf:
            ivf.nprobe = min(value, ivf.nlist)
        elif hnsw:
            hnsw.efSearch = value

    @property
    def min_effort(self) -> int:
        """RETURNS (int): The smallest effort worth trying."""
        return FEWEST_LISTS if _ivf(self.index) else SHORTEST_QUEUE

    @property
    def max_effort(self) -> int:
        """RETURNS (int): The effort that visits everything, 0 if every search does."""
        ivf = _ivf(self.index)
        return ivf.nlist if ivf else self.index.ntotal if _hnsw(self.index) else 0

    @property
    def takes_masks(self) -> bool:
        """RETURNS (bool): Whether the index skips masked vectors itself. Otherwise it finds them
        too, and they are dropped from the result."""
        return _parameters(self.index, None, 1) is not None

    def search(
        self,
        queries: np.ndarray,
        k: int,
        live: np.ndarray | None = None,
        effort: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the vectors with the largest inner products, see `FlatIndex.search`.

        live (ndarray | None): Mask of the vectors that may be found, one bit each, little-endian
            uint8.
        effort (int | None): Overrides the index's own effort.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        parameters = _parameters(self.index, live, self.effort if effort is None else effort)
        with _threads_for(len(queries)):
            scores, rows = self.index.search(queries, k, params=parameters)
        if live is not None and parameters is None:
            rows[~_is_set(live, rows)] = -1
        return best(np.where(rows < 0, -np.inf, scores).astype(np.float32), rows, k)


def is_learned(spec: str) -> bool:
    """RETURNS (bool): Whether an index of this factory string learns lists from its vectors."""
    return re.search(r"\bIVF\d", spec) is not None


def to_gpu(index: Any, device: int) -> Any:
    """RETURNS (faiss.Index): A copy on a GPU.
    RAISES (ElqError): If this FAISS has no GPU support, there is no such GPU, or FAISS doesn't
        support this kind of index on a GPU."""
    import faiss

    if not hasattr(faiss, "StandardGpuResources"):
        reason = "it was built for CPUs only"
        raise ElqError(Errors.ELQ225.format(device=device, reason=reason))
    try:
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device, index)
    except RuntimeError as err:
        raise ElqError(Errors.ELQ225.format(device=device, reason=last_line(err))) from None


def last_line(err: Exception | str) -> str:
    """RETURNS (str): The message of a FAISS error, without its place in the source code."""
    return _PLACE.sub("", (str(err).strip() or type(err).__name__).splitlines()[-1])


def _refuse_changes(*args: Any, **kwargs: Any) -> NoReturn:
    raise ElqError(Errors.ELQ226)


def _ivf(index: Any) -> Any:
    import faiss

    return faiss.try_extract_index_ivf(index)


def _hnsw(index: Any) -> Any:
    import faiss

    while (inner := _inner(index)) is not index:
        index = inner
    return index.hnsw if isinstance(index, faiss.IndexHNSW) else None


def _inner(index: Any) -> Any:
    """RETURNS (faiss.Index): The index inside a vector transformation or a re-ranking index; the
    same index if it is neither."""
    import faiss

    if isinstance(index, faiss.IndexPreTransform):
        return faiss.downcast_index(index.index)
    if isinstance(index, faiss.IndexRefine):
        return faiss.downcast_index(index.base_index)
    return index


def _parameters(index: Any, live: np.ndarray | None, effort: int) -> Any:
    """RETURNS (faiss.SearchParameters | None): Parameters for this kind of index, None for kinds
    without parameters."""
    import faiss

    # FAISS's annotations lack keywords, and selectors made from arrays.
    of: Any = faiss
    inner = _inner(index)
    if inner is not index:
        own = _parameters(inner, live, effort)
        if own is None:
            return None
        if isinstance(index, faiss.IndexRefine):
            return of.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=own)
        return of.SearchParametersPreTransform(index_params=own)
    given = {} if live is None else {"sel": of.IDSelectorBitmap(live)}
    if isinstance(index, faiss.IndexIVF):
        return of.SearchParametersIVF(nprobe=min(effort, index.nlist), **given)
    if isinstance(index, faiss.IndexHNSW):
        return of.SearchParametersHNSW(efSearch=effort, **given)
    if isinstance(index, faiss.IndexFlat | faiss.IndexScalarQuantizer):
        return of.SearchParameters(**given)
    return None


def _is_set(bits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return (rows >= 0) & ((bits[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1).astype(bool)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Let FAISS use this many threads, and matrix products if they are faster."""
    import faiss

    threads, blas_from = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(number)
    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = blas_from


def many_threads() -> AbstractContextManager[None]:
    """RETURNS (ContextManager): Lets FAISS use as many threads as the rest of a pipeline."""
    import torch

    return _threads(1 if os.getpid() != _IMPORTED_BY else torch.get_num_threads())


def _threads_for(queries: int) -> AbstractContextManager[None]:
    return _threads(1) if queries < MANY_QUERIES else many_threads()


Count = Annotated[int, Field(ge=0, le=MAX_ROWS)]
Measure = Annotated[float, Field(ge=-1, allow_inf_nan=False)]


@dataclass(frozen=True)
class SearchSettings:
    """How an index is searched and how well that works, as kept in the manifest.

    effort (int): How much of the index a search visits: the number of lists (FAISS's nprobe) or
        the length of the queue in a graph (efSearch).
    rerank (int): How many of the vectors found get an exact score, see `FileVectorStore`. In the
        manifest it is called "depth".
    recall (float): Share of the exact 10 best entities that is found; -1 if it was not measured.
    queries (str): Where the measured queries come from.
    sample (int): Number of queries.
    ms (float): Median milliseconds per query.
    exact_ms (float): Median milliseconds per query of an exact search.
    """

    effort: Count
    rerank: Count = 0
    recall: Measure = -1.0
    queries: str = ""
    sample: Count = 0
    ms: Measure = 0.0
    exact_ms: Measure = 0.0

    @classmethod
    def from_manifest(cls, values: dict[str, Any], effort: int) -> SearchSettings:
        """Read what `to_manifest` returned.

        effort (int): The effort set in the index file, used if the manifest has none.
        RAISES (ValueError): If a value is not what it should be.
        """
        known = {_KEYS.get(item.name, item.name): item.name for item in fields(cls)}
        found = {known[key]: value for key, value in values.items() if key in known}
        text = json.dumps({"effort": effort, **found})  # unknown keys come from a later release
        try:
            return _validator().validate_json(text, strict=True)
        except ValidationError as err:
            raise ValueError(f"in its manifest, search.{first_problem(err)}") from None

    def to_manifest(self) -> dict[str, Any]:
        """RETURNS (dict): Values that JSON can hold."""
        return {_KEYS.get(name, name): value for name, value in asdict(self).items()}


@cache
def _validator() -> TypeAdapter[SearchSettings]:
    return TypeAdapter(SearchSettings)
