"""Embed batches of entities: a callable that any engine can send to its workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders.entity import EntityEncoder, load_entity_encoder
from ..encoders.inference import InferenceSettings
from ..entities.records import entity_from_dict
from ..errors import ElqError
from ..kb.build.vector_source import Batch, OwnedVectors
from ..pipeline.loading import use_gpu
from ..types import Entity
from .columns import Columns, rows, with_columns

if TYPE_CHECKING:
    import pyarrow as pa

_LOCK = Lock()


@dataclass(frozen=True)
class BatchEmbedder:
    """Embeds entities, whose fields are columns, and adds a column with their vectors.

    Each process that calls it loads the encoder once, on the first call.

    encoder (str): "minilm", a model directory, or a pipeline's `elq/entity_encoder`.
    output (str): Name of the new column: a list of vectors for each entity, its title's first.
    error (str): Name of a second new column: what was wrong with a row, whose list is empty then.
    inference (InferenceSettings): How vectors are computed.
    gpu_id (int): GPU, -1 for the CPU.
    """

    encoder: str = "minilm"
    output: str = "vectors"
    error: str = "error"
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    gpu_id: int = -1

    def __call__(self, batch: Columns) -> Columns:
        """Embed a batch of rows with the columns `id`, `title` and, if they are there,
        `description` and `aliases`.

        batch: A dict of lists or arrays, pyarrow.Table, pyarrow.RecordBatch or pandas.DataFrame.
        RETURNS: The same with two more columns.
        """
        read = [_entity(row) for row in rows(batch)]
        entities = [each for each in read if isinstance(each, Entity)]
        made = iter(self._by_entity(entities))
        new: dict[str, list[Any]] = {
            self.output: [next(made) if isinstance(each, Entity) else [] for each in read],
            self.error: [None if isinstance(each, Entity) else each for each in read],
        }
        return with_columns(batch, new, self.schema())

    def in_pandas(self, batches: Iterable[Columns]) -> Iterator[Columns]:
        """YIELDS: Each batch with its vectors, as "mapInPandas" of Spark wants it."""
        return map(self, batches)

    def schema(self, rows: pa.Schema | None = None) -> pa.Schema:
        """RETURNS (pyarrow.Schema): Of the output.

        rows (pyarrow.Schema): Of the input; without it, only the new columns are described.
        """
        import pyarrow as pa

        vectors = pa.list_(pa.list_(pa.float32()))
        kept = [each for each in (rows or []) if each.name not in (self.output, self.error)]
        return pa.schema([*kept, (self.output, vectors), (self.error, pa.string())])

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        """Embed entities; see `EntityEncoder.encode`."""
        with _LOCK:
            return _loaded(self.encoder, self.inference, self.gpu_id).encode(entities)

    def encode_batch(self, batch: Batch) -> OwnedVectors:
        """Embed a batch of a build, see `VectorSource.parallel`."""
        return self.encode(batch[0])

    def _by_entity(self, entities: Sequence[Entity]) -> list[list[Any]]:
        vectors, owners = self.encode(entities)
        starts = np.searchsorted(owners, np.arange(1, len(entities)))
        return [list(each) for each in np.split(vectors, starts)]


@lru_cache(maxsize=4)
def _loaded(name: str, inference: InferenceSettings, gpu_id: int) -> EntityEncoder:
    use_gpu(gpu_id)
    return load_entity_encoder(name, inference=inference)


def _entity(row: dict[str, Any]) -> Entity | str:
    """RETURNS (Entity | str): The entity of a row, or what is wrong with it."""
    try:
        return entity_from_dict(row, "the row")
    except ElqError as err:
        return str(err)
