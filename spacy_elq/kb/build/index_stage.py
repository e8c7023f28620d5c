"""The last stage of a build: choose an index of the vectors, build it, tune its search."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...errors import ElqError, Errors
from ..files.manifest import AUTO, EXACT, INDEX, QUERIES, VECTORS, Manifest
from ..files.npy import read_array
from ..search.faiss_index import SearchSettings
from ..search.file_vectors import check_queries
from ..search.stored_kb import open_exact_store, open_indexed_store
from ..search.vector_store import find_backend
from .choose_index import IndexPlan, index_plans
from .train_index import VectorFile, build_index, check_faiss_spec, forget_unfinished
from .tune_index import MAX_QUERIES, Queries, subsample, synthetic_queries, tune_search

QuerySource = Callable[[], Queries]


@dataclass(frozen=True)
class IndexOptions:
    """Limits of an index.

    max_ram (int): Maximum size in bytes of an index that "auto" chooses.
    min_recall (float): Share of the exact 10 best entities that it should find.
    queries (Callable): Returns the queries to tune it with; synthetic ones if None.
    device (int): GPU that k-means runs on, -1 for the CPU.
    """

    max_ram: int = 2 << 30
    min_recall: float = 0.99
    queries: QuerySource | None = None
    device: int = -1

    def __post_init__(self) -> None:
        if not 0 < self.min_recall <= 1:
            raise ElqError(Errors.ELQ239.format(value=self.min_recall))


def validate_index(index: str, width: int, dtype: str) -> str:
    """Check an index before hours are spent on its vectors.

    index (str): "auto", "exact", a FAISS factory string, or the address of a vector store, which
        must answer.
    dtype (str): Type of the stored vectors, or "auto".
    RETURNS (str): The index; an address is completed.
    """
    backend = find_backend(index)
    if backend is None:
        return check_faiss_spec(index, width)
    if dtype not in (AUTO, *backend.dtypes):
        message = Errors.ELQ266
        raise ElqError(message.format(index=index, dtypes=" or ".join(backend.dtypes), dtype=dtype))
    return backend.check(index)


def make_index(
    work: Path, manifest: Manifest, options: IndexOptions, *, progress: bool = False
) -> Manifest:
    """Build the index that a manifest names, and tune its search.

    work (Path): Directory of the build, with the vectors. An unfinished index is resumed.
    manifest (Manifest): Of the build; `index` may be "auto".
    progress (bool): Whether to report on stderr.
    RETURNS (Manifest): With the final `index` and `search`.
    """
    backend = find_backend(manifest.index)
    if backend is not None:
        log(f"index: {manifest.index}", progress)
        backend.finish(manifest)
        return manifest
    _forget(work)
    candidates = _candidates(manifest, options)
    for plan in candidates:
        log(f"index: {plan.spec} ({plan.reason})", progress)
        if plan.spec == EXACT:
            break
        vectors = VectorFile(work / VECTORS, manifest.dtype)
        path = build_index(work, vectors, plan.spec, device=options.device, progress=progress)
        settings = _tune(work, path, manifest, options)
        log(f"search: {describe(settings)}", progress)
        if settings.recall >= options.min_recall or plan is candidates[-1]:
            _warn(settings, options, progress)
            path.rename(work / INDEX)
            forget_unfinished(work)
            return replace(manifest, index=plan.spec, search=settings.to_manifest())
    forget_unfinished(work)
    (work / QUERIES).unlink(missing_ok=True)
    return replace(manifest, index=EXACT)


def _candidates(manifest: Manifest, options: IndexOptions) -> list[IndexPlan]:
    if manifest.index != AUTO:
        return [IndexPlan(manifest.index, 0, "as requested")]
    item_bytes = np.dtype(manifest.dtype).itemsize
    return index_plans(manifest.vectors, manifest.width, item_bytes, options.max_ram)


def copy_index(work: Path, index_file: Path) -> None:
    """Copy an existing index of the vectors, in place of any index of an unfinished build."""
    _forget(work)
    forget_unfinished(work)
    shutil.copyfile(index_file, work / INDEX)


def _forget(work: Path) -> None:
    for name in (INDEX, QUERIES):
        (work / name).unlink(missing_ok=True)


def _tune(work: Path, path: Path, manifest: Manifest, options: IndexOptions) -> SearchSettings:
    exact = open_exact_store(work, manifest)
    queries = synthetic_queries(exact.vectors)
    if options.queries is not None:
        vectors, source = options.queries()
        queries = Queries(subsample(check_queries(vectors, manifest.width), MAX_QUERIES), source)
        np.save(work / QUERIES, queries.vectors)  # for `kb check` and for compaction
    return tune_search(open_indexed_store(work, path, manifest), exact, queries, options.min_recall)


def kept_queries(directory: Path, manifest: Manifest) -> Queries | None:
    """RETURNS (Queries | None): The queries that the index of a knowledge base was tuned with;
    None if they were synthetic."""
    if QUERIES not in manifest.files:
        return None
    try:
        vectors = read_array(directory / QUERIES)
    except (ValueError, OSError) as err:
        raise ElqError(Errors.ELQ223.format(path=directory, problem=err)) from None
    return Queries(vectors, str(manifest.search.get("queries", "")))


def describe(settings: SearchSettings) -> str:
    """RETURNS (str): Effort of a search, its recall and its time, as one line."""
    effort = f"effort {settings.effort}, " if settings.effort else ""
    found = f"finds {settings.recall:.4f} of the exact 10 best"
    asked = f"{settings.sample} queries: {settings.queries}"
    cost = f"{settings.ms:.1f} ms a query, exact search {settings.exact_ms:.0f} ms"
    return f"{effort}re-ranks {settings.rerank}, {found} ({asked}); {cost}"


def _warn(settings: SearchSettings, options: IndexOptions, show: bool) -> None:
    if settings.recall < options.min_recall:
        log(
            f"This is less than the requested {options.min_recall}. Allow more memory, or request "
            "another index.",
            show,
        )
    if options.queries is None:
        log("Real mentions may be further from the entities: tune with --queries.", show)


def log(text: str, show: bool) -> None:
    """Print a line on stderr, above any progress bar."""
    if show:
        tqdm.write(text, file=sys.stderr)
