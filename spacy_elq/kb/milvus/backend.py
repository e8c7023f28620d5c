"""Milvus as a registered vector store: the addresses that begin with "milvus:"."""

from __future__ import annotations

import re
import secrets
from typing import Any

import numpy as np

from ..files.manifest import Manifest
from .server import MilvusAddress, MilvusCollection, connect
from .vectors import MilvusVectorStore

# Names of collections that `MilvusBackend.reserve` chooses.
_RESERVED = re.compile(r"\w+_[0-9a-f]{12}_[0-9a-f]{8}", re.ASCII)


class MilvusBackend:
    """A `VectorBackend`: each build fills a collection, whose name is kept in
    `Manifest.search["collection"]`."""

    dtypes = ("float32",)

    def check(self, index: str) -> str:
        """Check an address that the user named, and connect to the server; see `MilvusAddress`."""
        address = MilvusAddress.parse(index)
        address.name_by_user()
        connect(address)
        return address.spec

    def reserve(self, manifest: Manifest) -> dict[str, Any]:
        """Choose the name of a new collection."""
        name = MilvusAddress.parse(manifest.index).name
        return {"collection": f"{name}_{manifest.digest[:12]}_{secrets.token_hex(4)}"}

    def writer(self, manifest: Manifest, rows: int) -> MilvusWriter:
        """Open the collection of a build, created if `rows` is 0."""
        collection = _collection(manifest)
        if not rows:
            collection.create(manifest.width)
        return MilvusWriter(collection, rows)

    def exists(self, manifest: Manifest) -> bool:
        """RETURNS (bool): Whether the server has the collection."""
        return _collection(manifest).exists()

    def finish(self, manifest: Manifest) -> None:
        """Index what was uploaded, and check that all of it is there."""
        collection = _collection(manifest)
        collection.finish()
        collection.check(manifest.width, manifest.vectors)

    def discard(self, manifest: Manifest) -> None:
        """Drop the collection of an unfinished build, if it is there. A finished one has an index,
        and may be in use, whatever the notes of a build say."""
        collection = _collection(manifest)
        if _RESERVED.fullmatch(collection.name) and collection.is_unfinished():
            collection.drop()

    def open(self, manifest: Manifest, owners: np.ndarray) -> MilvusVectorStore:
        """Open the collection; connects when vectors are first needed."""
        return MilvusVectorStore(_collection(manifest), owners, manifest.entities, manifest.width)


class MilvusWriter:
    """A `VectorWriter` that adds the vectors of a build to a collection.

    collection (MilvusCollection): The collection.
    rows (int): Number of vectors that an interrupted build noted down.
    """

    def __init__(self, collection: MilvusCollection, rows: int) -> None:
        self._collection = collection
        self._rows = rows
        self._resumed = rows > 0

    def write(self, vectors: np.ndarray, owners: np.ndarray) -> None:
        """Send vectors; those that an interrupted build sent but did not note down are replaced."""
        self._collection.write(self._rows, vectors, owners, again=self._resumed)
        self._rows += len(vectors)

    def flush(self) -> None:
        """Nothing to do: the server has confirmed each write."""

    def close(self) -> None:
        """Nothing to do: the connection is shared."""


def _collection(manifest: Manifest) -> MilvusCollection:
    name = str(manifest.search.get("collection", ""))
    return MilvusCollection(MilvusAddress.parse(manifest.index), name)
