"""The immutable part of a knowledge base, opened from its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .catalogue import Catalogue
from .index import FaissIndex
from .names import NameIndex
from .store import CATALOGUE, EXACT, INDEX, MANIFEST, OWNERS, VECTORS, Manifest, link_or_copy
from .table import EntityTable
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
    def open(cls, path: Path, manifest: Manifest) -> Base:
        """Map the files of a directory; nothing large is read.

        manifest (Manifest): The directory's own, already checked.
        """
        path = path.absolute()
        return cls(
            path=path,
            manifest=manifest,
            catalogue=Catalogue(path / CATALOGUE),
            names=NameIndex.open(path),
            table=open_table(path, manifest),
        )

    def __len__(self) -> int:
        return self.manifest.entities

    def copy_to(self, directory: Path) -> None:
        """Put the files into another directory, by hard links where that can be."""
        for name in (*self.manifest.files, MANIFEST):
            link_or_copy(self.path / name, directory / name)


def open_table(path: Path, manifest: Manifest) -> EntityTable:
    """RETURNS (EntityTable): The vectors of a directory, as its manifest says they are kept."""
    vectors = np.load(path / VECTORS, mmap_mode="r", allow_pickle=False)
    owners = np.load(path / OWNERS, mmap_mode="r", allow_pickle=False)
    index = None if manifest.index == EXACT else FaissIndex.open(path / INDEX)
    return VectorTable(np.asarray(vectors), np.asarray(owners), manifest.entities, index)
