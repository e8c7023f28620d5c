"""Entities → catalogue → vectors → names and index: a knowledge base directory, resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from ..corpora.entities import entity_to_dict
from ..errors import ElqError, Errors
from ..types import Entity
from .catalogue import Catalogue
from .choose import EXACT_UP_TO
from .indexing import IndexOptions, check_index, make_index, say
from .milvus_server import is_milvus
from .names import NameIndex
from .sinks import UPLOAD, discard_upload, open_sink
from .store import (
    AUTO,
    CATALOGUE,
    EXACT,
    INDEX,
    Manifest,
    check_replaceable,
    describe_files,
    now,
    publish,
)
from .train import forget_unfinished
from .vectors import check_vectors

PROGRESS = "progress.json"
DTYPES = (AUTO, "float32", "float16")


class EntityEncoder(Protocol):
    """What turns entities into vectors.

    width (int): Width h of the vectors.
    fingerprint (str): Names the weights and the way of encoding; vectors of encoders with
        different fingerprints cannot be compared.
    normalized (bool): Whether the vectors have length 1.
    """

    @property
    def width(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def normalized(self) -> bool: ...

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        """Encode entities.

        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the place in `entities` of
            each vector's owner (V,), int, ascending, each at least once.
        """
        ...


class VectorRows(Protocol):
    """A matrix that may be larger than memory: an array, or a file that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass
class _GivenVectors:
    """Hands out vectors in the order in which entities are asked for, from `place` on."""

    vectors: VectorRows
    place: int
    fingerprint: str
    normalized: bool

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        start, self.place = self.place, self.place + len(entities)
        return self.vectors[start : self.place], np.arange(len(entities))


@dataclass(frozen=True)
class Progress:
    """How far the vectors of an unfinished build have come, and of what they are.

    digest (str): Checksum of the entities.
    fingerprint (str): Of the entity encoder.
    place (str): Address of the server that they go to; "" for files.
    entities, vectors (int): How many are kept safely.
    """

    digest: str
    fingerprint: str
    dtype: str
    place: str = ""
    entities: int = 0
    vectors: int = 0

    @classmethod
    def read(cls, path: Path) -> Progress | None:
        """RETURNS (Progress | None): What an earlier run wrote, if it can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write, in place of what was there, in one step."""
        new = path.with_name(f"{path.name}.new")
        with new.open("w", encoding="utf8") as file:
            file.write(json.dumps(asdict(self)))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def of(self, entities: int, vectors: int) -> Progress:
        """RETURNS (Progress): The same build, this far."""
        return replace(self, entities=entities, vectors=vectors)


def build_kb(
    entities: Iterable[Entity],
    out: str | Path,
    encoder: EntityEncoder,
    *,
    index: str = AUTO,
    options: IndexOptions | None = None,
    batch_size: int = 2048,
    dtype: str = AUTO,
    progress: bool = True,
    source: str = "",
    snapshot: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Build a knowledge base directory.

    The work is done in a directory beside `out` whose name ends in ".building". It stays there if
    the build is broken off, and the next build of the same entities with the same encoder goes on
    from it.

    entities (Iterable[Entity]): Read once.
    out (str | Path): The directory to make.
    encoder (EntityEncoder): Makes the vectors.
    index (str): "auto", "exact", a FAISS factory string such as "HNSW32", or "milvus:URI#NAME" for
        vectors that a Milvus server keeps; see `milvus_server.Address`.
    options (IndexOptions): What the index may take and must find.
    batch_size (int): Entities given to the encoder at once, and kept at once.
    dtype (str): How vectors are stored: "float32", "float16", or "auto" for float16 where there are
        too many for exact search.
    progress (bool): Whether to show a progress bar on stderr.
    source, snapshot (str): Where the entities come from and of which date; kept in the manifest.
    overwrite (bool): Whether a knowledge base at `out` may be replaced.
    RETURNS (Manifest): What was built.
    """
    out = Path(out).absolute()
    _check_target(out, overwrite)
    if dtype not in DTYPES:
        raise ElqError(Errors.ELQ110.format(name="dtype", value=dtype, of=", ".join(DTYPES)))
    index = check_index(index, encoder.width, dtype)
    work = working_directory(out)
    digest = _Digest(entities)
    catalogue = _write_catalogue(work, digest)
    if dtype == AUTO:
        large = digest.count > EXACT_UP_TO and index != EXACT and not is_milvus(index)
        dtype = "float16" if large else "float32"
    manifest = Manifest(
        entities=digest.count,
        width=encoder.width,
        dtype=dtype,
        index=index,
        fingerprint=encoder.fingerprint,
        normalized=encoder.normalized,
        source=source,
        snapshot=snapshot,
        digest=digest.hex,
    )
    state = _resume(work, manifest, show=progress)
    vectors = _embed(work, catalogue, encoder, manifest, state, batch_size, show=progress)
    NameIndex.build(work, enumerate(catalogue))
    manifest = replace(manifest, vectors=vectors)
    return _publish(
        make_index(work, manifest, options or IndexOptions(), progress=progress), work, out
    )


def build_kb_from_vectors(
    entities: Iterable[Entity],
    out: str | Path,
    vectors: VectorRows,
    *,
    fingerprint: str,
    identity: str = "",
    normalized: bool = False,
    index: str = EXACT,
    options: IndexOptions | None = None,
    index_file: Path | None = None,
    batch_size: int = 8192,
    progress: bool = True,
    source: str = "",
    snapshot: str = "",
    overwrite: bool = False,
) -> Manifest:
    """Build a knowledge base directory of vectors that are there already. Resumes as `build_kb`.

    entities (Iterable[Entity]): Read once.
    out (str | Path): The directory to make.
    vectors (VectorRows): One for each entity, in their order; read block by block.
    fingerprint (str): Of the encoder that made the vectors.
    identity (str): Tells these vectors from others: an unfinished build of others starts over.
    normalized (bool): Whether the vectors have length 1.
    index (str): As in `build_kb`; with `index_file`, the FAISS factory string of that.
    options (IndexOptions): What an index that is built may take and must find.
    index_file (Path): An index of the vectors, to be copied.
    batch_size (int): Vectors kept at once.
    progress (bool): Whether to show a progress bar on stderr.
    source, snapshot (str): Where the entities come from and of which date; kept in the manifest.
    overwrite (bool): Whether a knowledge base at `out` may be replaced.
    RETURNS (Manifest): What was built.
    RAISES (ElqError): If there are more or fewer entities than vectors.
    """
    out = Path(out).absolute()
    _check_target(out, overwrite)
    count, width = vectors.shape
    halves = vectors.dtype == np.float16 and not is_milvus(index)
    if index_file is None:
        index = check_index(index, width, AUTO)
    work = working_directory(out)
    digest = _Digest(entities)
    catalogue = _write_catalogue(work, digest, expected=count)
    manifest = Manifest(
        entities=count,
        vectors=count,
        width=width,
        dtype="float16" if halves else "float32",
        index=index,
        fingerprint=fingerprint,
        normalized=normalized,
        source=source,
        snapshot=snapshot,
        digest=digest.hex,
    )
    state = _resume(work, manifest, identity, show=progress)
    given = _GivenVectors(vectors, state.vectors, fingerprint, normalized)
    _embed(work, catalogue, given, manifest, state, batch_size, show=progress)
    NameIndex.build(work, enumerate(catalogue))
    if index_file is not None:
        shutil.copyfile(index_file, work / INDEX)
    else:
        manifest = make_index(work, manifest, options or IndexOptions(), progress=progress)
    return _publish(manifest, work, out)


def _publish(manifest: Manifest, work: Path, out: Path) -> Manifest:
    manifest = replace(manifest, created=now(), files=describe_files(work))
    manifest.write(work)
    (work / PROGRESS).unlink()
    (work / UPLOAD).unlink(missing_ok=True)  # from now on its collection is in use
    publish(work, out)
    return manifest


def working_directory(out: Path) -> Path:
    """RETURNS (Path): Where the knowledge base `out` is while it is being built."""
    return out.with_name(f"{out.name}.building")


def _check_target(out: Path, overwrite: bool) -> None:
    check_replaceable(out)
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise ElqError(Errors.ELQ211.format(path=out))


def digest_of(entities: Iterable[Entity]) -> str:
    """RETURNS (str): The checksum that the manifest of a build from these entities has."""
    digest = _Digest(entities)
    for _ in digest:
        pass
    return digest.hex


class _Digest:
    """Entities on their way into the catalogue, counted and summed up."""

    def __init__(self, entities: Iterable[Entity]) -> None:
        self.entities = entities
        self.count = 0
        self._sum = hashlib.sha256()

    def __iter__(self) -> Iterator[Entity]:
        for entity in self.entities:
            line = json.dumps(entity_to_dict(entity), sort_keys=True)
            self._sum.update(line.encode("utf8") + b"\n")
            self.count += 1
            yield entity

    @property
    def hex(self) -> str:
        return self._sum.hexdigest()


def _write_catalogue(work: Path, entities: _Digest, expected: int | None = None) -> Catalogue:
    work.mkdir(parents=True, exist_ok=True)
    (work / CATALOGUE).unlink(missing_ok=True)
    try:
        catalogue = Catalogue.build(work / CATALOGUE, entities)
        if not entities.count:
            raise ElqError(Errors.ELQ214)
        if expected is not None and expected != entities.count:
            problem = f"there are {expected} of them for {entities.count} entities"
            raise ElqError(Errors.ELQ209.format(problem=problem))
    except ElqError:
        if not (work / PROGRESS).exists():  # nothing here that a next run could use
            shutil.rmtree(work)
        raise
    return catalogue


def _resume(work: Path, manifest: Manifest, identity: str = "", *, show: bool) -> Progress:
    """How far an earlier run came, if it was the same build; else nothing is done yet."""
    fresh = Progress(
        digest=f"{manifest.digest} {identity}".rstrip(),
        fingerprint=manifest.fingerprint,
        dtype=manifest.dtype,
        place=manifest.index if is_milvus(manifest.index) else "",
    )
    old = Progress.read(work / PROGRESS)
    if old is not None and old.of(0, 0) == fresh:
        say(f"Going on with an unfinished build: {old.entities} entities have their vectors", show)
        return old
    if old is not None:
        text = "The entities or the encoder changed since the unfinished build: starting over"
        say(text, show)
    forget_unfinished(work)  # an index of other vectors
    discard_upload(work)
    return fresh


def _embed(
    work: Path,
    catalogue: Catalogue,
    encoder: EntityEncoder,
    manifest: Manifest,
    state: Progress,
    batch_size: int,
    *,
    show: bool,
) -> int:
    """Encode what is left to encode. RETURNS (int): The number of vectors."""
    largest = np.finfo(manifest.dtype).max
    sink = open_sink(work, manifest, state.vectors)
    bar = tqdm(total=manifest.entities, initial=state.entities, unit=" entities", disable=not show)
    with closing(sink), closing(bar):
        done = state.entities
        rest = catalogue.iterate(done)
        while chunk := list(islice(rest, batch_size)):
            ids = [entity.id for entity in chunk]
            found, local = check_vectors(ids, *encoder.encode(chunk), encoder.width)
            too_large = np.abs(found).max(axis=1) > largest
            if too_large.any():
                raise ElqError(Errors.ELQ229.format(id=ids[local[too_large.argmax()]]))
            sink.append(found, local + done)
            sink.flush()
            done += len(chunk)
            state.of(done, sink.rows).write(work / PROGRESS)
            bar.update(len(chunk))
    return sink.rows
