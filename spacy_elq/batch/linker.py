"""Link batches of rows: a callable that any engine can send to its workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..bulk.batch import TextLinks, link_texts
from ..corpora.spans_jsonl import check_text
from ..errors import ElqError, Errors, error_line, raise_if_out_of_memory
from ..pipeline.loading import load_linker
from .columns import Columns, column, is_missing, with_columns

if TYPE_CHECKING:
    import pyarrow as pa
    from spacy.language import Language

# A process has one pipeline, which links for one thread at a time: the engine has more processes.
PIPELINE_LOCK = Lock()
SETTINGS = ("threshold", "top_k", "mention_kinds")
SPAN_FIELDS = ("title", "label", "score", "prob", "mention_score")


@dataclass(frozen=True)
class BatchLinker:
    """Links the texts in a column, and adds a column with the links.

    Pickling it copies only what stands here: each process that calls it loads the pipeline once, on
    the first call. The files of its knowledge base are mapped, so the processes of a machine share
    one copy in memory.

    pipeline (str | Path): Package or directory, on each machine.
    text (str): Name of the column with the texts.
    output (str): Name of the new column: lists of objects with `start`, `end`, `id`, `title`,
        `label`, `score`, `mention_score` and, of a calibrated pipeline, `prob`; else it is null.
    error (str): Name of a second new column: what was wrong with a row, whose list is empty then.
    candidates (bool): Whether each object lists its candidates too: `id`, `title`, `score`.
    threshold, top_k, mention_kinds: In place of the linker's own settings.
    batch_size (int): Maximum number of texts that the pipeline reads at once.
    gpu_id (int): GPU, -1 for the CPU.
    """

    pipeline: str | Path
    text: str = "text"
    output: str = "spans"
    error: str = "error"
    candidates: bool = False
    threshold: float | None = None
    top_k: int | None = None
    mention_kinds: str | None = None
    batch_size: int = 256
    gpu_id: int = -1

    def __call__(self, batch: Columns) -> Columns:
        """Link a batch of rows.

        batch: A dict of lists or arrays, pyarrow.Table, pyarrow.RecordBatch or pandas.DataFrame.
        RETURNS: The same with two more columns.
        RAISES (ElqError): If the batch has no column of texts, or the pipeline can't be loaded.
            What is wrong with one text is said in its row.
        """
        texts = column(batch, self.text)
        with PIPELINE_LOCK:
            linked = self._link(texts)
        new: dict[str, list[Any]] = {
            self.output: [[] if isinstance(one, str) else self._rows(one) for one in linked],
            self.error: [one if isinstance(one, str) else None for one in linked],
        }
        return with_columns(batch, new, self._new_columns)

    def in_pandas(self, batches: Iterable[Columns]) -> Iterator[Columns]:
        """YIELDS: Each batch with its links, as "mapInPandas" of Spark wants it."""
        return map(self, batches)

    def schema(self, rows: pa.Schema | None = None) -> pa.Schema:
        """RETURNS (pyarrow.Schema): Of the output.

        rows (pyarrow.Schema): Of the input; without it, only the new columns are described.
        """
        import pyarrow as pa

        new = self._new_columns
        kept = [each for each in (rows or []) if each.name not in new.names]
        return pa.schema([*kept, *new])

    @cached_property
    def _new_columns(self) -> pa.Schema:
        import pyarrow as pa

        span = {"start": pa.int64(), "end": pa.int64(), "id": pa.string(), "title": pa.string()}
        span |= {"label": pa.string(), "score": pa.float64(), "prob": pa.float64()}
        span |= {"mention_score": pa.float64()}
        if self.candidates:
            one = pa.struct({"id": pa.string(), "title": pa.string(), "score": pa.float64()})
            span["candidates"] = pa.list_(one)
        return pa.schema({self.output: pa.list_(pa.struct(span)), self.error: pa.string()})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_new_columns"}

    def _link(self, texts: list[Any]) -> list[TextLinks | str]:
        """RETURNS (list): The links of each text, or what is wrong with it."""
        settings = [(name, getattr(self, name)) for name in SETTINGS]
        nlp = loaded_linker(str(self.pipeline), self.gpu_id, tuple(settings))
        result: list[TextLinks | str] = [_problem(text, nlp.max_length) for text in texts]
        good = [place for place, problem in enumerate(result) if not problem]
        linked = _try(nlp, [texts[place] for place in good], self.batch_size)
        for place, found in zip(good, linked, strict=True):
            result[place] = found
        return result

    def _rows(self, spans: TextLinks) -> list[dict[str, Any]]:
        fields = [*SPAN_FIELDS, "candidates"] if self.candidates else SPAN_FIELDS
        return [
            {"start": span.start, "end": span.end, "id": span.id}
            | {name: span.fields.get(name) for name in fields}
            for span in spans
        ]


@lru_cache(maxsize=4)
def loaded_linker(pipeline: str, gpu_id: int, options: tuple[tuple[str, Any], ...]) -> Language:
    """RETURNS (Language): This process's own copy of a pipeline with these settings of the linker.
    To be called, and used, under the lock."""
    return load_linker(pipeline, gpu_id, **dict(options))


def _try(nlp: Language, texts: list[str], batch_size: int) -> Sequence[TextLinks | str]:
    """Link texts; if something fails, one by one, so that only the reason for it is lost."""
    try:
        return link_texts(nlp, texts, batch_size)[0]
    except Exception as err:
        raise_if_out_of_memory(err)
        if len(texts) == 1:
            return [error_line(err)]
    return [_try(nlp, [text], batch_size)[0] for text in texts]


def _problem(text: Any, max_length: int) -> str:
    """RETURNS (str): Why a cell can't be linked; "" if it can."""
    if is_missing(text) or not isinstance(text, str):
        found = "nothing" if is_missing(text) else type(text).__name__
        return Errors.ELQ138.format(found=found)
    try:
        check_text(text, max_length)
    except ElqError as err:
        return str(err)
    return ""
