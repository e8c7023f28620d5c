"""The immutable part of a knowledge base, opened from its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .catalogue import Catalogue
from .generations import Hold
from .index import FaissIndex
from .names import NameIndex
from .store import CATALOGUE, EXACT, INDEX, OWNERS, VECTORS, Manifest, link_or_copy
from .vectors import VectorTable


@dataclass(frozen=True)
class Base:
    """Records, names and vectors of the entities 0..N-1.

    path (Path): The directory that the files are in.
    hold (Hold): Keeps them there.
    """

    path: Path
    manifest: Manifest
    catalogue: Catalogue
    names: NameIndex
    table: VectorTable
    hold: Hold

    @classmethod
    def open(cls, path: Path, manifest: Manifest) -> Base:
        """Map the files of a directory; nothing large is read.

        manifest (Manifest): The directory's own, already checked.
        """
        path = manifest.home(path.absolute())
        hold = Hold(path)
        vectors = np.load(path / VECTORS, mmap_mode="r", allow_pickle=False)
        owners = np.load(path / OWNERS, mmap_mode="r", allow_pickle=False)
        index = None if manifest.index == EXACT else FaissIndex.open(path / INDEX)
        return cls(
            path=path,
            manifest=manifest,
            catalogue=Catalogue(path / CATALOGUE),
            names=NameIndex.open(path),
            table=VectorTable(np.asarray(vectors), np.asarray(owners), manifest.entities, index),
            hold=hold,
        )

    def __len__(self) -> int:
        return self.manifest.entities

    def copy_to(self, directory: Path) -> None:
        """Put the files and the manifest into another directory, by hard links where that can
        be."""
        home = self.manifest.home(directory)
        home.mkdir(exist_ok=True)
        for name in self.manifest.files:
            link_or_copy(self.path / name, home / name)
        self.manifest.write(directory)
