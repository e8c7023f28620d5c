"""Where a build puts its vectors: a file of the directory, or a registered vector store."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import ElqError, Errors
from ...files import write_json
from ..files.manifest import OWNERS, VECTORS, Manifest
from ..files.npy import header_of
from ..search.file_vectors import check_size, check_vectors
from ..search.vector_store import VectorWriter, find_backend
from .vector_source import Batch, OwnedVectors

# Names the vector store that an unfinished build fills.
UPLOAD = "upload.json"
HEADER_BYTES = 128


class OwnedVectorWriter:
    """Writes the vectors of a build, and their owners to a file.

    work (Path): Directory of the build.
    manifest (Manifest): Says where the vectors go; and how many there will be, or 0.
    rows (int): Number of vectors of an interrupted build to keep; later ones are dropped.
    """

    def __init__(self, work: Path, manifest: Manifest, rows: int) -> None:
        backend = find_backend(manifest.index)
        self._vectors: VectorWriter = (
            backend.writer(manifest, rows) if backend else _VectorFileWriter(work, manifest, rows)
        )
        self._owners = NpyAppender(work / OWNERS, (), "int32", rows=rows)
        self._manifest = manifest

    @property
    def rows(self) -> int:
        """RETURNS (int): The number of vectors so far."""
        return self._owners.rows

    def add(self, batch: Batch, made: OwnedVectors) -> None:
        """Add the vectors of a batch of entities, and wait until they are safe.

        RAISES (ElqError): If they are not vectors of these entities.
        """
        entities, first = batch
        ids = [entity.id for entity in entities]
        vectors, owners = check_vectors(ids, *made, self._manifest.width)
        check_size(ids, vectors, owners, self._manifest.dtype)
        self._write(vectors, owners + first)

    def _write(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._vectors.write(vectors, owners)
        self._owners.append(owners)
        self.flush()

    def flush(self) -> None:
        """Wait until everything written is safe."""
        self._vectors.flush()
        self._owners.flush()

    def close(self) -> None:
        """Close the files, or the connection."""
        self._vectors.close()
        self._owners.close()


class NpyAppender:
    """Write a .npy file block by block; only one block is in memory.

    path (Path): The file, created if it is missing.
    row_shape (tuple[int, ...]): Shape of one row.
    dtype (str): For example "float32".
    rows (int): Number of rows of an existing file to keep; later ones are dropped.
    expected (int): Number of all rows, to take their place on the disk now; 0 if unknown.
    """

    def __init__(
        self,
        path: Path,
        row_shape: tuple[int, ...],
        dtype: str,
        *,
        rows: int = 0,
        expected: int = 0,
    ) -> None:
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.rows = rows
        self._file = path.open("r+b" if rows else "w+b")
        self._file.truncate(self._end)
        if expected > rows:
            _take_place(self._file.fileno(), HEADER_BYTES + expected * self._row_bytes)
        self._file.seek(self._end)

    @property
    def _end(self) -> int:
        return HEADER_BYTES + self.rows * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def append(self, block: np.ndarray) -> None:
        """Add rows (n, *row_shape) at the end."""
        self._file.write(np.ascontiguousarray(block, dtype=self.dtype).tobytes())
        self.rows += len(block)

    def flush(self) -> None:
        """Wait until all rows are on disk, under a header that counts them."""
        self._file.seek(0)
        self._file.write(header_of((self.rows, *self.row_shape), self.dtype, HEADER_BYTES))
        self._file.seek(self._end)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; its header does not count rows added after the last flush."""
        self._file.truncate(self._end)
        self._file.close()


def _take_place(handle: int, size: int) -> None:
    """Raise the OSError of a full disk now rather than after hours, where the system can tell."""
    try:
        os.posix_fallocate(handle, 0, size)
    except AttributeError:  # macOS, Windows
        pass
    except OSError as err:
        if err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise


class _VectorFileWriter(NpyAppender):
    """A `VectorWriter` of the directory's own file."""

    def __init__(self, work: Path, manifest: Manifest, rows: int) -> None:
        shape, expected = (manifest.width,), manifest.vectors
        super().__init__(work / VECTORS, shape, manifest.dtype, rows=rows, expected=expected)

    def write(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        self.append(vectors)


def reserve_store(work: Path, manifest: Manifest, rows: int) -> Manifest:
    """Choose the vector store that a build fills, or find the one that it was filling.

    rows (int): Number of vectors that an interrupted build left there, if it is resumed.
    RETURNS (Manifest): With `search` naming the store; unchanged if the vectors are in files.
    """
    backend = find_backend(manifest.index)
    if backend is None:
        return manifest
    if rows:
        noted = _read_note(work, manifest.index)
        if noted is None or not backend.exists(noted):
            raise ElqError(Errors.ELQ268.format(path=work, index=manifest.index))
        return replace(manifest, search=noted.search)
    search = backend.reserve(manifest)
    write_json(work / UPLOAD, {"index": manifest.index, **search})
    return replace(manifest, search=search)


def discard_upload(work: Path, index: str) -> None:
    """Remove what an interrupted build put into a vector store, if anything; nobody uses it. A note
    of another store than the knowledge base's own is not followed: anybody may have left it.

    work (Path): Directory of the build; a link is not followed.
    index (str): Address of the store that the knowledge base, or that build, uses.
    """
    if work.is_symlink():
        return
    noted = _read_note(work, index)
    backend = find_backend(index)
    if noted is not None and backend is not None:
        backend.discard(noted)
    (work / UPLOAD).unlink(missing_ok=True)


def _read_note(work: Path, index: str) -> Manifest | None:
    """RETURNS (Manifest | None): What a build noted about this vector store."""
    try:
        note = json.loads((work / UPLOAD).read_text(encoding="utf8"))
        return Manifest(index=index, search=note) if note.pop("index") == index else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
