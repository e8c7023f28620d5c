"""Where the vectors of a build come from, and the batches in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from ...types import Entity
from ..files.manifest import AUTO

# Entities that are saved at once; fewer if they have to be embedded, which takes longer.
BATCH_SIZE, EMBEDDED_AT_ONCE = 2048, 256

# The vectors of a batch of entities (V, h), float32, and the position in the batch of each
# vector's owner (V,), int, ascending, each position at least once.
OwnedVectors = tuple[np.ndarray, np.ndarray]
# Consecutive entities, and the number of the first.
Batch = tuple[Sequence[Entity], int]


class EncodesEntities(Protocol):
    """Turns entities into vectors.

    width (int): Width h of the vectors.
    fingerprint (str): Identifies the weights and the way of encoding; vectors of encoders with
        different fingerprints cannot be compared.
    normalized (bool): Whether the vectors have length 1.
    """

    @property
    def width(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def normalized(self) -> bool: ...

    def encode(self, entities: Sequence[Entity]) -> OwnedVectors:
        """Encode entities.

        RETURNS (tuple[ndarray, ndarray]): Vectors (V, h), float32, and the position in `entities`
            of each vector's owner (V,), int, ascending, each at least once.
        """
        ...


class VectorRows(Protocol):
    """A matrix that may be larger than memory: an array, or a file that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


@dataclass(frozen=True)
class VectorSource:
    """The vectors of the entities that a knowledge base is built from, batch by batch.

    batch (Callable): `batch(entities, start)` returns the vectors of consecutive entities, the
        first of which is number `start`, as `EncodesEntities.encode` does. An interrupted build
        resumes with a batch in the middle.
    width, fingerprint, normalized: As for `EncodesEntities`.
    dtype (str): Type of the stored vectors if the build does not set one; "auto" to decide by
        their number.
    entities (int | None): Number of entities that there are vectors of, if known.
    identity (str): Distinguishes these vectors from others with the same fingerprint: an unfinished
        build with other vectors starts over.
    inference (str): How the vectors are computed, see `Manifest`.
    batch_size (int): Entities of a batch. The last bits of a vector depend on what is embedded with
        it, so batches depend on nothing else: not on speed, and not on interruptions.
    count (Callable | None): `count(entity)` returns the number of its vectors, if that is known
        beforehand: the place on disk is then taken before the work begins.
    parallel (Callable | None): Makes the vectors of many batches at once, and yields them in order;
        None to call `batch` for one after the other.
    digest (str): Checksum of the entities that these vectors belong to; "" if any may be.
    """

    batch: Callable[[Sequence[Entity], int], OwnedVectors]
    width: int
    fingerprint: str
    normalized: bool = False
    dtype: str = AUTO
    entities: int | None = None
    identity: str = ""
    inference: str = ""
    batch_size: int = BATCH_SIZE
    count: Callable[[Entity], int] | None = None
    parallel: Callable[[Iterable[Batch]], Iterator[OwnedVectors]] | None = None
    digest: str = ""

    def of(self, batches: Iterable[Batch]) -> Iterator[OwnedVectors]:
        """RETURNS (Iterator): The vectors of each batch."""
        return self.parallel(batches) if self.parallel else (self.batch(*each) for each in batches)

    @classmethod
    def from_encoder(cls, encoder: EncodesEntities) -> VectorSource:
        """RETURNS (VectorSource): The vectors that an encoder makes."""
        return cls(
            lambda entities, start: encoder.encode(entities),
            encoder.width,
            encoder.fingerprint,
            encoder.normalized,
            inference=getattr(encoder, "inference_name", ""),
            batch_size=getattr(encoder, "entities_at_once", EMBEDDED_AT_ONCE),
            count=getattr(encoder, "count_vectors", None),
        )

    @classmethod
    def from_matrix(
        cls,
        vectors: VectorRows,
        fingerprint: str,
        *,
        normalized: bool = False,
        identity: str = "",
    ) -> VectorSource:
        """RETURNS (VectorSource): One vector for each entity, in their order; read batch by
        batch."""
        count, width = vectors.shape
        return cls(
            lambda entities, start: (
                vectors[start : start + len(entities)],
                np.arange(len(entities)),
            ),
            width,
            fingerprint,
            normalized,
            dtype="float16" if vectors.dtype == np.float16 else "float32",
            entities=count,
            identity=identity,
            count=lambda entity: 1,
        )


def batches(entities: Iterable[Entity], size: int, first: int = 0) -> Iterator[Batch]:
    """YIELDS (Batch): So many entities at a time; `first` is the number of the first."""
    rest = iter(entities)
    while batch := list(islice(rest, size)):
        yield batch, first
        first += len(batch)
