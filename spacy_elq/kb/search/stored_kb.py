"""The immutable part of a knowledge base, opened from its directory."""

from __future__ import annotations

import mmap
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ElqError, Errors, Warnings, raise_if_out_of_memory
from ...files import link_or_copy
from ..files.catalogue import Catalogue
from ..files.locks import SharedLock
from ..files.manifest import (
    CATALOGUE,
    EXACT,
    INDEX,
    NAMES_VERSION,
    OWNERS,
    POPULARITY,
    VECTORS,
    Manifest,
    sha256,
)
from ..files.names import NameIndex
from ..files.npy import map_array
from .faiss_index import FaissIndex, SearchSettings, last_line
from .file_vectors import FileVectorStore
from .vector_store import VectorStore, find_backend

# Bytes of an index, or of the owners of vectors, that are checked when they are opened, in a tenth
# of a second.
CHECKED_UP_TO = 32 << 20


@dataclass(frozen=True)
class StoredKB:
    """Records, names and vectors of the entities 0..N-1.

    path (Path): The directory of the files.
    vectors (VectorStore): The vectors.
    popularity (ndarray | None): From `log_popularity`, float32 (N,); None if none is known.
    hold (SharedLock): Keeps the files from being removed.
    """

    path: Path
    manifest: Manifest
    catalogue: Catalogue
    names: NameIndex
    vectors: VectorStore
    popularity: np.ndarray | None
    hold: SharedLock

    @classmethod
    def open(cls, path: Path, manifest: Manifest) -> StoredKB:
        """Map the files of a directory; nothing large is read.

        manifest (Manifest): The directory's manifest, already checked.
        RAISES (ElqError): If a file has the right size but can't be read.
        """
        path = manifest.home(path.absolute())
        hold = SharedLock(path)
        try:
            catalogue = Catalogue(path / CATALOGUE)
            return cls(
                path=path,
                manifest=manifest,
                catalogue=catalogue,
                names=_open_names(path, manifest, catalogue),
                vectors=open_vector_store(path, manifest),
                popularity=_map_popularity(path, manifest),
                hold=hold,
            )
        except ElqError:
            raise
        except (RuntimeError, ValueError, TypeError) as err:  # of FAISS and NumPy
            raise_if_out_of_memory(err)
            raise ElqError(Errors.ELQ223.format(path=path, problem=last_line(err))) from None

    def __len__(self) -> int:
        return self.manifest.entities

    def use_gpu(self, device: int) -> None:
        """Search on a GPU, if the vectors are in files.

        device (int): Number of the GPU.
        RAISES (ElqError): If FAISS can't.
        """
        if isinstance(self.vectors, FileVectorStore):
            self.vectors.use_gpu(device)

    def copy_to(self, directory: Path) -> None:
        """Put the files and the manifest into another directory, by hard links if possible."""
        home = self.manifest.home(directory)
        home.mkdir(exist_ok=True)
        for name in self.manifest.files:
            link_or_copy(self.path / name, home / name)
        self.manifest.write(directory)


def _open_names(path: Path, manifest: Manifest, catalogue: Catalogue) -> NameIndex:
    if manifest.names_version == NAMES_VERSION:
        return NameIndex.open(path)
    warnings.warn(Warnings.ELQ275.format(path=path, count=manifest.entities), stacklevel=2)
    return NameIndex.of(enumerate(catalogue))


def _map_popularity(path: Path, manifest: Manifest) -> np.ndarray | None:
    if manifest.popularity is None:
        return None
    return np.asarray(map_array(path / POPULARITY, "<f4", (manifest.entities,)))


def open_vector_store(path: Path, manifest: Manifest) -> VectorStore:
    """RETURNS (VectorStore): The vectors of a directory, from wherever its manifest says they
    are."""
    backend = find_backend(manifest.index)
    if backend is not None:
        return backend.open(manifest, np.asarray(_map_owners(path, manifest)))
    if manifest.index == EXACT:
        return open_exact_store(path, manifest)
    _check_index(path, manifest)
    return open_indexed_store(path, path / INDEX, manifest)


def open_indexed_store(path: Path, index_file: Path, manifest: Manifest) -> FileVectorStore:
    """RETURNS (FileVectorStore): The vectors of a directory, searched with an index."""
    vectors, owners = _map_vectors(path, manifest), _map_owners(path, manifest)
    index = FaissIndex.open(index_file)
    settings = SearchSettings.from_manifest(manifest.search, index.effort)
    index.effort = settings.effort
    read_at_random(vectors)
    return FileVectorStore(
        np.asarray(vectors), np.asarray(owners), manifest.entities, index, settings.rerank
    )


def open_exact_store(path: Path, manifest: Manifest) -> FileVectorStore:
    """RETURNS (FileVectorStore): The vectors of a directory, searched without an index, whatever
    the manifest says."""
    vectors, owners = _map_vectors(path, manifest), _map_owners(path, manifest)
    return FileVectorStore(np.asarray(vectors), np.asarray(owners), manifest.entities)


def _map_vectors(path: Path, manifest: Manifest) -> np.memmap:
    return map_array(path / VECTORS, manifest.dtype, (manifest.vectors, manifest.width))


def _map_owners(path: Path, manifest: Manifest) -> np.memmap:
    owners = map_array(path / OWNERS, "<i4", (manifest.vectors,))
    if owners[-1:] != manifest.entities - 1:
        raise ValueError(f"the last vector is not of entity {manifest.entities}, the last one")
    if owners.nbytes <= CHECKED_UP_TO and not _are_ascending(np.asarray(owners)):
        raise ValueError(f"{OWNERS} is damaged: its entities are not in order")
    return owners


def _are_ascending(owners: np.ndarray) -> bool:
    return not len(owners) or bool(owners[0] == 0 and (owners[1:] >= owners[:-1]).all())


def _check_index(path: Path, manifest: Manifest) -> None:
    """Raise a ValueError if a small index is damaged: FAISS may crash on it. (Reading all of a
    large one would make opening slow; `kb check` does.)"""
    expected = manifest.files[INDEX]
    if expected["size"] <= CHECKED_UP_TO and sha256(path / INDEX) != expected["sha256"]:
        raise ValueError(f"the checksum of {INDEX} is wrong")


def read_at_random(array: np.memmap) -> None:
    """Tell the system not to read ahead in a file: only the requested rows are needed."""
    if hasattr(mmap, "MADV_RANDOM"):  # not on Windows
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
