"""Build a FAISS index in bounded memory, resumable: train on a sample, then add all vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...errors import ElqError, Errors, raise_if_out_of_memory
from ...files import atomic_file
from ..files.manifest import AUTO, EXACT
from ..files.npy import map_array
from ..search.faiss_index import last_line, many_threads, to_gpu
from .try_index import check_factory_string

# k-means learns from this many vectors per list, but from no more than this many bytes of them.
POINTS_PER_LIST = 64
SAMPLE_BYTES = 640 << 20
# Vectors read and added at once, and added before the index is saved.
ADD_AT_ONCE = 1 << 15
SAVE_EVERY = 1 << 20
UNFINISHED = "index.part"
UNFINISHED_INFO = "index.part.json"


class VectorFile:
    """A matrix (V, h) in a .npy file, read block by block. Each block is mapped by
    itself, because the pages of a lasting mapping would stay in memory.

    path (Path): The file.
    dtype (str): Type of its numbers.
    """

    def __init__(self, path: Path, dtype: str = "float32") -> None:
        self.path = path
        self.dtype = dtype
        self.shape = self._map().shape

    def _map(self) -> np.ndarray:
        return map_array(self.path, self.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: slice | np.ndarray) -> np.ndarray:
        """RETURNS (ndarray): Some rows, float32."""
        return np.array(self._map()[rows], dtype=np.float32)


def check_faiss_spec(spec: str, width: int) -> str:
    """Check an index before hours are spent on its vectors.

    spec (str): "auto", "exact" or a FAISS factory string.
    RETURNS (str): The same.
    """
    if spec not in (AUTO, EXACT):
        check_factory_string(spec, width)
    return spec


def factory(width: int, spec: str) -> Any:
    """RETURNS (faiss.Index): An untrained index over inner products.
    RAISES (ElqError): If FAISS doesn't know the kind."""
    import faiss

    try:
        return faiss.index_factory(width, spec, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as err:
        raise ElqError(Errors.ELQ215.format(spec=spec, reason=last_line(err))) from None


def build_index(
    directory: Path, vectors: VectorFile, spec: str, *, device: int = -1, progress: bool = False
) -> Path:
    """Train an index and add all vectors; resumes an interrupted call.

    directory (Path): Keeps the unfinished index.
    spec (str): FAISS factory string, for example "SQfp16" or "HNSW32".
    device (int): GPU that k-means runs on, -1 for the CPU.
    progress (bool): Whether to show progress on stderr.
    RETURNS (Path): File of the finished index, for the caller to rename.
    """
    work = _Unfinished(directory, {"spec": spec, "vectors": len(vectors)})
    try:
        with many_threads():
            index = work.load()
            if index is None:
                index = _train(vectors, spec, device, show=progress)
                work.save(index)
            _add(index, vectors, work, show=progress)
    except RuntimeError as err:  # mostly: too few vectors to train on
        raise_if_out_of_memory(err)
        raise ElqError(Errors.ELQ215.format(spec=spec, reason=last_line(err))) from None
    return work.path


def forget_unfinished(directory: Path) -> None:
    """Remove the files that `build_index` keeps."""
    for name in (UNFINISHED, UNFINISHED_INFO):
        (directory / name).unlink(missing_ok=True)


class _Unfinished:
    """An index on disk that does not have all of its vectors yet.

    spec (dict): What is being built. A leftover from a different spec is ignored.
    """

    def __init__(self, directory: Path, spec: dict[str, Any]) -> None:
        self.path = directory / UNFINISHED
        self._spec = spec
        self._info = directory / UNFINISHED_INFO

    def load(self) -> Any:
        """RETURNS (Optional[faiss.Index]): The index as last saved, if there is one."""
        import faiss

        try:
            same = json.loads(self._info.read_text(encoding="utf8")) == self._spec
        except (OSError, ValueError):
            return None
        if not same or not self.path.exists():
            return None
        flags = faiss.IO_FLAG_READ_ONLY | faiss.IO_FLAG_ONDISK_SAME_DIR  # as in `FaissIndex.open`
        return faiss.read_index(str(self.path), flags)

    def save(self, index: Any) -> None:
        """Replace the saved index in one step."""
        import faiss

        with atomic_file(self.path) as work:
            # Delete the description first, so the new index never carries the old one's.
            self._info.unlink(missing_ok=True)
            try:
                faiss.write_index(index, str(work))
            except RuntimeError as err:
                reason = last_line(err)
                raise ElqError(Errors.ELQ283.format(path=self.path, reason=reason)) from None
        self._info.write_text(json.dumps(self._spec), encoding="utf8")


def _train(vectors: VectorFile, spec: str, device: int, *, show: bool) -> Any:
    """RETURNS (faiss.Index): An index that has learned its lists and codes, without vectors."""
    import faiss

    index = factory(vectors.shape[1], spec)
    if index.is_trained:
        return index
    ivf = faiss.try_extract_index_ivf(index)
    wanted = len(vectors)
    if ivf is not None:
        wanted = min(wanted, POINTS_PER_LIST * ivf.nlist)
        ivf.cp.max_points_per_centroid = POINTS_PER_LIST
        if device >= 0:
            ivf.clustering_index = to_gpu(faiss.IndexFlatIP(ivf.d), device)
    sample = _sample(vectors, wanted)
    with tqdm(total=1, desc=f"training on {len(sample)}", unit=" index", disable=not show) as bar:
        index.train(sample)
        bar.update()
    return index


def _sample(vectors: VectorFile, count: int) -> np.ndarray:
    count = min(count, max(1, SAMPLE_BYTES // (4 * vectors.shape[1])))
    if count >= len(vectors):
        return vectors.take(slice(None))
    rows = np.random.default_rng(0).choice(len(vectors), count, replace=False)
    return vectors.take(np.sort(rows))


def _add(index: Any, vectors: VectorFile, work: _Unfinished, *, show: bool) -> None:
    bar = tqdm(
        total=len(vectors),
        initial=index.ntotal,
        desc="adding",
        unit=" vectors",
        unit_scale=True,
        disable=not show,
    )
    with bar:
        while index.ntotal < len(vectors):
            block = vectors.take(slice(index.ntotal, index.ntotal + ADD_AT_ONCE))
            index.add(block)
            bar.update(len(block))
            if index.ntotal % SAVE_EVERY == 0 or index.ntotal == len(vectors):
                work.save(index)
