"""Where a build puts vectors as they are made: files of the directory, or a server. Either goes on
from what an interrupted build left."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import ElqError, Errors
from ...files import atomic_file
from ..files.store import OWNERS, VECTORS, Manifest
from ..milvus.server import MilvusAddress, MilvusCollection, is_milvus
from .npy import NpyAppender

UPLOAD = "upload.json"


class VectorWriter(Protocol):
    """Takes vectors in the order of their entities.

    rows (int): How many it has.
    """

    @property
    def rows(self) -> int: ...

    def append(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        """Add vectors (n, h), float32, and the entity row of each (n,)."""
        ...

    def flush(self) -> None:
        """Wait until they are kept safely."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def open_writer(work: Path, manifest: Manifest, rows: int) -> VectorWriter:
    """Open what takes the vectors of a build.

    work (Path): Its directory.
    manifest (Manifest): Tells where they go and of what they are.
    rows (int): How many of an interrupted build to go on from; what follows them is dropped.
    """
    if is_milvus(manifest.index):
        return MilvusWriter(work, manifest, rows)
    return FileVectorWriter(work, manifest, rows)


class FileVectorWriter:
    """Vectors and their owners in files."""

    def __init__(self, work: Path, manifest: Manifest, rows: int) -> None:
        self._vectors = NpyAppender(work / VECTORS, (manifest.width,), manifest.dtype, rows=rows)
        self._owners = NpyAppender(work / OWNERS, (), "int32", rows=rows)

    @property
    def rows(self) -> int:
        return self._vectors.rows

    def append(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        self._vectors.append(vectors)
        self._owners.append(owners)

    def flush(self) -> None:
        self._vectors.flush()
        self._owners.flush()

    def close(self) -> None:
        self._vectors.close()
        self._owners.close()


class MilvusWriter:
    """Vectors in a Milvus collection, their owners in a file too. Each build has a collection of
    its own, so that those who use the one of a build before go on with that."""

    def __init__(self, work: Path, manifest: Manifest, rows: int) -> None:
        self._resumed = rows > 0
        self._collection = (_uploading if self._resumed else _start)(work, manifest)
        self._owners = NpyAppender(work / OWNERS, (), "int32", rows=rows)

    @property
    def rows(self) -> int:
        return self._owners.rows

    def append(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        # What a build sent before it broke off, without noting it down, is sent once more.
        self._collection.write(self.rows, vectors, owners, again=self._resumed)
        self._owners.append(owners)

    def flush(self) -> None:
        self._owners.flush()

    def close(self) -> None:
        self._owners.close()


def _start(work: Path, manifest: Manifest) -> MilvusCollection:
    address = MilvusAddress.parse(manifest.index)
    name = f"{address.name}_{manifest.digest[:12]}_{secrets.token_hex(4)}"
    # Noted down before it is made: what breaks off here can be dropped by the next build.
    with atomic_file(work / UPLOAD) as file:
        file.write_text(json.dumps({"index": address.spec, "collection": name}), encoding="utf8")
    collection = MilvusCollection(address, name)
    collection.create(manifest.width)
    return collection


def _uploading(work: Path, manifest: Manifest) -> MilvusCollection:
    """The collection that a build is filling."""
    collection = _noted(work)
    if collection is None or not collection.exists():
        name = collection.name if collection else "of the unfinished build"
        uri = MilvusAddress.parse(manifest.index).uri
        raise ElqError(Errors.ELQ268.format(name=name, uri=uri, path=work))
    return collection


def _noted(work: Path) -> MilvusCollection | None:
    try:
        note = json.loads((work / UPLOAD).read_text(encoding="utf8"))
    except (OSError, ValueError):
        return None
    return MilvusCollection(MilvusAddress.parse(note["index"]), note["collection"])


def finish_upload(work: Path, manifest: Manifest) -> Manifest:
    """Index what was uploaded, and make sure that all of it is there.

    RETURNS (Manifest): With the name of the collection.
    """
    collection = _uploading(work, manifest)
    collection.finish()
    collection.check(manifest.width, manifest.vectors)
    return replace(manifest, search={"collection": collection.name})


def discard_upload(work: Path) -> None:
    """Drop the collection of a build that broke off, if there is one; nobody uses it.

    work (Path): The directory of the build.
    """
    collection = _noted(work)
    if collection is not None:
        collection.drop()
        (work / UPLOAD).unlink()
