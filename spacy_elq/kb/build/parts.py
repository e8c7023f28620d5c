"""The vectors of a build, made in parts by any number of processes or machines, and put together.

Batch number b belongs to part b % of + 1, so that no part has to know how many batches there are.
The batches are those of an undivided build, and so are the vectors, to the last bit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ...entities.records import map_popularity
from ...errors import ElqError, Errors
from ...files import naming, write_json
from ...types import Entity
from ..files.locks import exclusive_lock
from ..files.manifest import AUTO, OWNERS, VECTORS, Manifest, describe_files
from ..files.npy import map_array
from .build_state import DigestedEntities
from .vector_source import Batch, EncodesEntities, OwnedVectors, VectorSource, batches
from .vector_writers import OwnedVectorWriter

PART = "part.json"
_NUMBER = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")
# What all parts of a build have in common.
SHARED = ("of", "fingerprint", "width", "normalized", "inference", "dtype", "batch_size", "digest")


@dataclass(frozen=True)
class Part:
    """A part of a build's vectors, and how much of it is saved.

    number, of (int): Part 1..of.
    fingerprint, width, normalized, inference, dtype: As for `Manifest`.
    batch_size (int): Entities that are embedded at once.
    entities (int): How many of all entities were passed, those of other parts too.
    vectors (int): Number of vectors so far.
    digest (str): Checksum of the entities so far; at last, of all.
    files (dict): Of a finished part: file name → its size and checksum.
    """

    number: int
    of: int
    fingerprint: str = ""
    width: int = 0
    normalized: bool = False
    inference: str = ""
    dtype: str = "float32"
    batch_size: int = 1
    entities: int = 0
    vectors: int = 0
    digest: str = ""
    files: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Part:
        """RETURNS (Part): The part that a text such as "3/16" names."""
        match = _NUMBER.fullmatch(text)
        if match is None or int(match[1]) > int(match[2]):
            raise ElqError(Errors.ELQ285.format(value=text))
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def read(cls, directory: Path) -> Part | None:
        """RETURNS (Part | None): The part in a directory, if there is one."""
        try:
            return cls(**json.loads((directory / PART).read_text(encoding="utf8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as err:
            raise ElqError(Errors.ELQ286.format(path=directory, problem=err)) from None

    def directory(self, out: Path) -> Path:
        """RETURNS (Path): Where this part of the knowledge base `out` is made."""
        return out.with_name(f"{out.name}.part-{self.number}-of-{self.of}")

    def has(self, first: int | np.ndarray) -> bool | np.ndarray:
        """RETURNS (bool | ndarray): Whether the batch of an entity, given by number, is of it."""
        return first // self.batch_size % self.of == self.number - 1

    def is_of(self, other: Part, names: Sequence[str] = SHARED[:-1]) -> bool:
        """RETURNS (bool): Whether both are parts of the same build."""
        return all(getattr(self, name) == getattr(other, name) for name in names)


def build_part(
    entities: Iterable[Entity],
    out: str | Path,
    vectors: EncodesEntities | VectorSource,
    part: str,
    *,
    dtype: str = AUTO,
    popularity_field: str = "",
    progress: bool = True,
) -> Part:
    """Make a part of the vectors of a knowledge base, in a directory beside it. After an interrupt,
    the same call resumes. `merged_parts` puts all parts together.

    entities (Iterable[Entity]): All entities, the same for each part.
    out (str | Path): The knowledge base.
    part (str): Such as "3/16", the third of sixteen.
    vectors, dtype, popularity_field, progress: As for `build_kb`; the same for each part.
    RETURNS (Part): The finished part.
    RAISES (ElqError): If the directory has a part of other entities or vectors.
    """
    if not isinstance(vectors, VectorSource):
        vectors = VectorSource.from_encoder(vectors)
    fresh = replace(
        Part.parse(part),
        fingerprint=vectors.fingerprint,
        width=vectors.width,
        normalized=vectors.normalized,
        inference=vectors.inference,
        dtype=_stored(dtype, vectors),
        batch_size=vectors.batch_size,
    )
    work = fresh.directory(Path(out).absolute())
    work.mkdir(parents=True, exist_ok=True)
    lock = work.with_name(f".{work.name}.lock")
    with naming(work), exclusive_lock(lock, busy=Errors.ELQ240.format(path=work)):
        state = Part.read(work) or fresh
        if not state.is_of(fresh, ("number", *SHARED[:-1])):
            raise ElqError(Errors.ELQ286.format(path=work, problem="it has other vectors"))
        digested = DigestedEntities(map_popularity(entities, popularity_field))
        state = _embed(work, digested, vectors, state, show=progress)
        if not state.files:
            state = replace(state, entities=digested.count, digest=digested.hex)
            state = replace(state, files=describe_files(work))
            write_json(work / PART, asdict(state))
        return state


def _stored(dtype: str, vectors: VectorSource) -> str:
    known = [each for each in (dtype, vectors.dtype) if each != AUTO]
    return known[0] if known else "float32"


def _embed(
    work: Path, entities: DigestedEntities, vectors: VectorSource, state: Part, *, show: bool
) -> Part:
    """Make the batches that are still missing."""
    before, layout = state, Manifest(width=state.width, dtype=state.dtype)
    bar = tqdm(unit=" entities", disable=not show)
    with closing(OwnedVectorWriter(work, layout, state.vectors)) as writer, closing(bar):
        for batch in batches(entities, state.batch_size):
            if _are_others(entities, before):
                break
            if entities.count > before.entities and state.has(batch[1]):
                writer.add(batch, vectors.batch(*batch))
                state = replace(
                    state,
                    entities=entities.count,
                    vectors=writer.rows,
                    digest=entities.hex,
                )
                write_json(work / PART, asdict(state))
            bar.update(len(batch[0]))
        writer.flush()
    if entities.count < before.entities or _are_others(entities, before):
        raise ElqError(Errors.ELQ286.format(path=work, problem="it was made of other entities"))
    return state


def _are_others(entities: DigestedEntities, before: Part) -> bool:
    """RETURNS (bool): Whether the entities up to here are not those that a part was made of."""
    if entities.count == before.entities:
        return before.digest not in ("", entities.hex)
    return entities.count > before.entities and bool(before.files)


def merged_parts(out: str | Path) -> VectorSource:
    """The vectors of the parts that lie beside a knowledge base, for `build_kb`.

    out (str | Path): The knowledge base.
    RETURNS (VectorSource): Every vector of every part, once.
    RAISES (ElqError): If a part is missing, is there twice, is unfinished or damaged, or if they
        are not parts of the same build.
    """
    out = Path(out).absolute()
    found = {path: part for path in _beside(out) if (part := Part.read(path))}
    _check_complete(out, found)
    opened = [_OpenPart(path, part) for path, part in found.items()]
    opened.sort(key=lambda each: each.part.number)
    one = opened[0].part

    def batch(entities: Sequence[Entity], first: int) -> OwnedVectors:
        return opened[first // one.batch_size % one.of].vectors_of((entities, first))

    return VectorSource(
        batch,
        one.width,
        one.fingerprint,
        one.normalized,
        dtype=one.dtype if one.dtype != "float32" else AUTO,
        entities=one.entities,
        inference=one.inference,
        batch_size=one.batch_size,
        digest=one.digest,
    )


def _beside(out: Path) -> list[Path]:
    name = re.compile(rf"{re.escape(out.name)}\.part-\d+-of-\d+")
    return sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name))


def _check_complete(out: Path, found: dict[Path, Part]) -> None:
    """Raise an ElqError unless each part of one build is there once."""
    if not found:
        raise ElqError(Errors.ELQ287.format(path=out, problem="there are none"))
    first, *others = found.items()
    for path, part in found.items():
        if not part.files:
            raise ElqError(Errors.ELQ287.format(path=out, problem=f"{path.name} is unfinished"))
    for path, part in others:
        if not part.is_of(first[1], SHARED):
            raise ElqError(Errors.ELQ286.format(path=path, problem=f"{first[0].name} differs"))
    numbers = [part.number for part in found.values()]
    for number in range(1, first[1].of + 1):
        if (times := numbers.count(number)) != 1:
            problem = f"part {number} of {first[1].of} is there {times} times"
            raise ElqError(Errors.ELQ287.format(path=out, problem=problem))


class _OpenPart:
    """The files of a part, checked and mapped."""

    def __init__(self, path: Path, part: Part) -> None:
        self.part = part
        if describe_files(path) != part.files:
            raise ElqError(Errors.ELQ286.format(path=path, problem="its checksums are wrong"))
        self._vectors = map_array(path / VECTORS, part.dtype, (part.vectors, part.width))
        self._owners = map_array(path / OWNERS, "int32", (part.vectors,))
        if not np.all(part.has(self._owners)):
            raise ElqError(Errors.ELQ286.format(path=path, problem="it has rows of other parts"))

    def vectors_of(self, batch: Batch) -> OwnedVectors:
        entities, first = batch
        start, end = np.searchsorted(self._owners, (first, first + len(entities)))
        return self._vectors[start:end], self._owners[start:end] - first
