"""The directory of an unfinished build: its lock, its progress, and how it becomes a knowledge
base."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...entities.records import entity_to_dict
from ...errors import ElqError, Errors
from ...files import write_json
from ...types import Entity
from ..files.atomic import publish, recover
from ..files.catalogue import Catalogue
from ..files.locks import exclusive_lock
from ..files.manifest import (
    CATALOGUE,
    IMMUTABLE,
    MANIFEST,
    Manifest,
    check_replaceable,
    describe_files,
    now,
)
from ..files.popularity import log_popularity
from ..search.vector_store import find_backend
from .index_stage import log
from .train_index import UNFINISHED, UNFINISHED_INFO
from .vector_writers import UPLOAD, discard_upload

PROGRESS = "progress.json"
# Files of a build; while one is being written, its name begins with a dot.
BUILD_FILES = (*IMMUTABLE, MANIFEST, PROGRESS, UPLOAD, UNFINISHED, UNFINISHED_INFO)


@dataclass(frozen=True)
class BuildProgress:
    """Identity of an unfinished build, and how many of its vectors are saved.

    digest (str): Checksum of the entities.
    fingerprint (str): Fingerprint of the entity encoder.
    place (str): Address of the vector store; "" for files.
    batch_size (int): Entities that are embedded at once, in this run and those that resume it.
    entities, vectors (int): How many are saved.
    """

    digest: str
    fingerprint: str
    dtype: str
    place: str = ""
    batch_size: int = 1
    entities: int = 0
    vectors: int = 0

    @classmethod
    def read(cls, path: Path) -> BuildProgress | None:
        """RETURNS (BuildProgress | None): The progress of an earlier run, if it can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        write_json(path, asdict(self))

    def is_of(self, build: BuildProgress) -> bool:
        """RETURNS (bool): Whether it may be resumed as that build."""
        names = ("digest", "fingerprint", "dtype", "place")
        return all(getattr(self, name) == getattr(build, name) for name in names)

    def advanced_to(self, entities: int, vectors: int) -> BuildProgress:
        """RETURNS (BuildProgress): The same build with other counts."""
        return replace(self, entities=entities, vectors=vectors)


@contextmanager
def locked_build(out: Path, overwrite: bool) -> Iterator[Path]:
    """Keep other builds of the same knowledge base out.

    out (Path): The knowledge base.
    overwrite (bool): Whether an existing one may be replaced.
    YIELDS (Path): The directory to build it in, created if it is missing.
    RAISES (ElqError): If another process is building it, or if one of the two paths holds something
        else.
    """
    _check_target(out, overwrite)
    work = building_directory(out)
    work.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(work.with_name(f".{work.name}.lock"), busy=Errors.ELQ240.format(path=out)):
        recover(out)
        _check_target(out, overwrite)  # another build may just have ended
        if work.is_symlink():
            raise ElqError(Errors.ELQ281.format(path=work))
        work.mkdir(exist_ok=True)
        _check_own(work)
        yield work


def building_directory(out: Path) -> Path:
    """RETURNS (Path): The directory in which the knowledge base `out` is built."""
    return out.with_name(f"{out.name}.building")


def _check_target(out: Path, overwrite: bool) -> None:
    check_replaceable(out)
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise ElqError(Errors.ELQ211.format(path=out))


def _check_own(work: Path) -> None:
    for item in work.iterdir():
        if not item.name.removeprefix(".").startswith(BUILD_FILES):
            raise ElqError(Errors.ELQ251.format(path=work, name=item.name))


def digest_of(entities: Iterable[Entity]) -> str:
    """RETURNS (str): `Manifest.digest` of a build from these entities."""
    digest = DigestedEntities(entities)
    for _ in digest:
        pass
    return digest.hex


class DigestedEntities:
    """Passes entities through once, and notes their number, popularity and checksum.

    count_vectors (Callable | None): Number of an entity's vectors, to be summed up too.
    """

    def __init__(
        self, entities: Iterable[Entity], count_vectors: Callable[[Entity], int] | None = None
    ) -> None:
        self.entities = entities
        self.count = self.vectors = 0
        self._count_vectors = count_vectors or (lambda entity: 0)
        self.popularity = array("f")
        self._sum = hashlib.sha256()

    def __iter__(self) -> Iterator[Entity]:
        for entity in self.entities:
            line = json.dumps(entity_to_dict(entity), sort_keys=True)
            self._sum.update(line.encode("utf8") + b"\n")
            self.count += 1
            self.vectors += self._count_vectors(entity)
            self.popularity.append(log_popularity(entity))
            yield entity

    @property
    def hex(self) -> str:
        return self._sum.hexdigest()


def write_catalogue(
    work: Path, entities: DigestedEntities, expected: int | None = None, digest: str = ""
) -> Catalogue:
    """Write the records of a build.

    expected (int | None): The required number of entities, if it is known.
    digest (str): Their required checksum; "" for any.
    RETURNS (Catalogue): The records.
    RAISES (ElqError): If an entity is invalid, or their number is wrong.
    """
    (work / CATALOGUE).unlink(missing_ok=True)
    try:
        catalogue = Catalogue.build(work / CATALOGUE, entities)
        if not entities.count:
            raise ElqError(Errors.ELQ214)
        if expected is not None and expected != entities.count:
            problem = f"there are {expected} of them for {entities.count} entities"
            raise ElqError(Errors.ELQ209.format(problem=problem))
        if digest not in ("", entities.hex):
            raise ElqError(Errors.ELQ209.format(problem="they were made of other entities"))
    except ElqError:
        if not (work / PROGRESS).exists():  # nothing that the next run could use
            _remove_all_but((), work)
            work.rmdir()
        raise
    return catalogue


def resume(
    work: Path, manifest: Manifest, identity: str, batch_size: int, *, show: bool
) -> BuildProgress:
    """RETURNS (BuildProgress): The progress of an earlier run of the same build. If there is none,
    a fresh one, and the leftovers of other builds are removed."""
    fresh = BuildProgress(
        digest=f"{manifest.digest} {identity}".rstrip(),
        fingerprint=manifest.fingerprint,
        dtype=manifest.dtype,
        place=manifest.index if find_backend(manifest.index) else "",
        batch_size=batch_size,
    )
    old = BuildProgress.read(work / PROGRESS)
    if old is not None and old.is_of(fresh):
        log(f"Resuming an unfinished build: {old.entities} entities have their vectors", show)
        _remove_all_but(BUILD_FILES, work)  # partial files that it was writing
        return old
    if old is not None:
        log("The entities or the encoder changed since the unfinished build: starting over", show)
    discard_upload(work, fresh.place if old is None else old.place)
    _remove_all_but((CATALOGUE,), work)
    return fresh


def _remove_all_but(names: Collection[str], work: Path) -> None:
    for item in work.iterdir():
        if item.name not in names:
            item.unlink()


def finish(manifest: Manifest, work: Path, out: Path) -> Manifest:
    """Publish a finished build under its name.

    RETURNS (Manifest): With its files.
    """
    manifest = replace(manifest, created=now(), files=describe_files(work))
    manifest.write(work)
    publish(work, out, check_replaceable)
    # Only now: if publishing fails, the next run resumes the build, or discards its upload.
    with suppress(OSError):
        (out / PROGRESS).unlink(missing_ok=True)
        (out / UPLOAD).unlink(missing_ok=True)
    return manifest
