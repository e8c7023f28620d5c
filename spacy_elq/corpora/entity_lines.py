"""Entities by line number, as ELQ's files name them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ElqError, Errors
from ..types import Entity

if TYPE_CHECKING:
    from ..kb.files.catalogue import Catalogue


class EntityLines:
    """The entities of an `entity.jsonl`, by line (counted from 0) and by id; on disk, not in
    memory."""

    def __init__(self, path: str | Path) -> None:
        """
        path (str | Path): ELQ's `entity.jsonl`, which is read completely first, or the knowledge
            base directory built from it, which opens at once.
        RAISES (ElqError): If the path does not exist, or is another kind of file.
        """
        self.path = Path(path)
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._catalogue = self._open()
        self._count = len(self._catalogue)

    def ids(self, lines: Sequence[int], where: str) -> list[str]:
        """The ids of the entities at some lines.

        where (str): Names the place in messages.
        RAISES (ElqError): If a line does not exist.
        """
        for line in lines:
            if not 0 <= line < self._count:
                place = {"line": line, "path": self.path, "count": self._count}
                raise ElqError(Errors.ELQ321.format(where=where, **place))
        return self._catalogue.ids(lines)

    def find(self, ids: Sequence[str]) -> list[tuple[int, Entity] | None]:
        """RETURNS (list): Line and record of each entity, None for an unknown id."""
        lines = self._catalogue.rows(ids)
        known = [line for line in lines if line is not None]
        records = dict(zip(known, self._catalogue.records(known), strict=True))
        return [None if line is None else (line, records[line]) for line in lines]

    def _open(self) -> Catalogue:
        from ..kb.files.catalogue import Catalogue
        from ..kb.files.manifest import CATALOGUE

        if (self.path / CATALOGUE).is_file():
            return Catalogue(self.path / CATALOGUE)
        from ..entities.elq import read_elq_entities

        self._directory = tempfile.TemporaryDirectory(prefix="spacy-elq-entities-")
        return Catalogue.build(Path(self._directory.name) / CATALOGUE, read_elq_entities(self.path))
