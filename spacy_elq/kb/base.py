"""The immutable part of a knowledge base, opened from its directory."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .catalogue import Catalogue
from .faiss_index import FaissIndex
from .names import NameIndex
from .store import CATALOGUE, EXACT, INDEX, MANIFEST, OWNERS, VECTORS, Manifest, link_or_copy
from .table import EntityTable
from .tune import SearchSettings
from .vectors import VectorTable


@dataclass(frozen=True)
class Base:
    """Records, names and vectors of the entities 0..N-1.

    path (Path): The directory.
    """

    path: Path
    manifest: Manifest
    catalogue: Catalogue
    names: NameIndex
    table: EntityTable

    @classmethod
    def open(cls, path: Path, manifest: Manifest, device: int = -1) -> Base:
        """Map the files of a directory; nothing large is read.

        manifest (Manifest): The directory's own, already checked.
        device (int): GPU that searches the index, -1 for none.
        """
        path = path.absolute()
        return cls(
            path=path,
            manifest=manifest,
            catalogue=Catalogue(path / CATALOGUE),
            names=NameIndex.open(path),
            table=open_table(path, manifest, device),
        )

    def __len__(self) -> int:
        return self.manifest.entities

    def copy_to(self, directory: Path) -> None:
        """Put the files into another directory, by hard links where that can be."""
        for name in (*self.manifest.files, MANIFEST):
            link_or_copy(self.path / name, directory / name)


def open_table(path: Path, manifest: Manifest, device: int = -1) -> EntityTable:
    """Open the vectors of a directory as its manifest says they are kept.

    device (int): GPU that the index is copied to, -1 for none.
    RETURNS (EntityTable): Nothing of it is read yet.
    """
    if manifest.index == EXACT:
        return exact_table(path, manifest)
    return open_index_table(path, path / INDEX, manifest, device)


def open_index_table(
    path: Path, index_file: Path, manifest: Manifest, device: int = -1
) -> VectorTable:
    """RETURNS (VectorTable): The vectors of a directory, found by an index."""
    vectors, owners = _map(path / VECTORS), _map(path / OWNERS)
    index = FaissIndex.open(index_file, device)
    settings = SearchSettings.from_manifest(manifest.search, index.effort)
    index.effort = settings.effort
    read_at_random(vectors)
    return VectorTable(
        np.asarray(vectors), np.asarray(owners), manifest.entities, index, settings.depth
    )


def exact_table(path: Path, manifest: Manifest) -> VectorTable:
    """RETURNS (VectorTable): The same without the index, whatever the manifest says."""
    vectors, owners = _map(path / VECTORS), _map(path / OWNERS)
    return VectorTable(np.asarray(vectors), np.asarray(owners), manifest.entities)


def _map(path: Path) -> np.memmap:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_at_random(array: np.memmap) -> None:
    """Tell the system to read no more of a file than the rows that are asked for."""
    if hasattr(mmap, "MADV_RANDOM"):  # not on Windows
        array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
