"""Training texts that do not fit into memory: read in parts, shuffled, by one process or many."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.training import Example

from ..entities.paths import format_of, part_files
from ..entities.tables import read_parquet
from ..errors import ElqError, Errors
from ..files import items_as_lines, parse_object, read_lines
from .readers import examples
from .spans_jsonl import LinkedText, text_from_dict, warn_of_other_names

FORMATS = ("jsonl", "parquet")


class _Record(NamedTuple):
    """A line or row that has not been parsed: most are only shuffled at first.

    part (int): Place of its file in the order of this epoch.
    number (int): Its place in the file, from 0.
    where (str): "file:line", for messages.
    """

    part: int
    number: int
    where: str
    content: str | dict[str, Any]


@dataclass(frozen=True)
class Position:
    """How far a stream of texts has been read. Texts come in blocks, which are shuffled.

    epoch, block (int): Passes and blocks of this pass that are done.
    taken (int): Texts of the present block that have been read, by all processes together.
    part, record (int): Where that block begins: file of this epoch's order, place in it.
    stream (str): A hash of the files and of how they are shuffled.
    """

    epoch: int = 0
    block: int = 0
    taken: int = 0
    part: int = 0
    record: int = 0
    stream: str = ""


def create_streamed_reader(
    path: str | Path | None,
    seed: int = 0,
    shuffle_buffer: int = 20_000,
    limit: int = 0,
    split: bool = False,
) -> StreamedTexts:
    """Stream training texts from one file or many, in constant memory.

    Registered as "spacy-elq.StreamedTexts.v1", for `max_epochs = -1`: then spaCy neither keeps nor
    shuffles the texts, and reads them again and again.

    path (str | Path | None): A file of spans JSONL (also .gz, .bz2, .xz, .zst) or Parquet, a
        directory of such parts, or a pattern such as "texts/part-*.jsonl". Checked when the reader
        is called.
    seed (int): Of the order, which is another one in each pass.
    shuffle_buffer (int): Texts that are shuffled at once, after the files were. 0 keeps the order.
    limit (int): Maximum number of texts of a pass; 0 reads all.
    split (bool): Where several processes train together, read this one's share of the texts: for
        training texts, not for those of an evaluation.
    """
    return StreamedTexts(path, seed, shuffle_buffer, limit, split)


class StreamedTexts:
    """A corpus whose position can be kept; each call is one pass, from the position on.

    position (Position): After the last text that was read. May be assigned between two passes.
    """

    def __init__(
        self, path: str | Path | None, seed: int, shuffle_buffer: int, limit: int, split: bool
    ) -> None:
        """See `create_streamed_reader`."""
        self.path, self.seed, self.limit = path, seed, limit
        self.shuffles = shuffle_buffer > 1
        self.rank, self.world = share_of_process() if split else (0, 1)
        # Processes take turns within a block, so it is of the same number of texts for each.
        self.block_size = -(-max(shuffle_buffer, 1) // self.world) * self.world
        self.position = Position()

    def __call__(self, nlp: Language) -> Iterator[Example]:
        return examples(nlp, self._texts(), None)

    @property
    def state(self) -> dict[str, Any]:
        """RETURNS (dict): The position as plain values; may be assigned, after a restart.
        RAISES (ElqError): For the position in another stream."""
        return asdict(replace(self.position, stream=self._stream(self._files())))

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        position = Position(**state)
        if position.stream != self._stream(self._files()):
            raise ElqError(Errors.ELQ317.format(path=self.path))
        self.position = position

    def _texts(self) -> Iterator[LinkedText]:
        start = self.position
        files = self._in_order(self._files(), start.epoch)
        read = start != Position(epoch=start.epoch)
        for position, block in self._blocks(files, start):
            first = position.taken + self.rank
            # The last texts of a pass, if they are too few for all processes, are left out.
            end = len(block) - (len(block) - position.taken) % self.world
            for i in range(first, end, self.world):
                self.position = replace(position, taken=i - self.rank + self.world)
                yield _parse(block[i], is_first=not read)
                read = True
        if not read:
            message = Errors.ELQ316 if self.world == 1 else Errors.ELQ318
            raise ElqError(message.format(path=self.path, processes=self.world))
        self.position = Position(epoch=start.epoch + 1)

    def _blocks(
        self, files: Sequence[Path], start: Position
    ) -> Iterator[tuple[Position, list[_Record]]]:
        """YIELDS (tuple): Where a block begins, or was left, and the block in its order."""
        records = _read(files, start.part, start.record)
        if self.limit:
            records = islice(records, max(0, self.limit - start.block * self.block_size))
        position = start
        while block := list(islice(records, self.block_size)):
            part, record = block[0].part, block[0].number
            position = replace(position, part=part, record=record)
            if self.shuffles:
                Random(f"{self.seed} {position.epoch} {position.block}").shuffle(block)
            yield position, block
            position = replace(position, block=position.block + 1, taken=0)

    def _files(self) -> list[Path]:
        if not self.path:
            raise ElqError(Errors.ELQ313.format(path=self.path))
        files = part_files(Path(self.path), "corpus file")
        for file in files:
            if format_of(file) not in FORMATS:
                known = ", ".join(f".{name}" for name in FORMATS)
                raise ElqError(Errors.ELQ312.format(path=file, known=known))
        return files

    def _in_order(self, files: list[Path], epoch: int) -> list[Path]:
        if self.shuffles:
            Random(f"{self.seed} {epoch}").shuffle(files)
        return files

    def _stream(self, files: Sequence[Path]) -> str:
        """RETURNS (str): A hash of what the order of the texts depends on."""
        order = (self.seed, self.block_size if self.shuffles else 0, self.limit)
        names = (f"{file.name} {file.stat().st_size}" for file in files)
        return sha256("\n".join((str(order), *names)).encode()).hexdigest()[:16]


def share_of_process() -> tuple[int, int]:
    """RETURNS (tuple[int, int]): Number of this process and of all that train together, as
    `torchrun` sets them."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def _read(files: Sequence[Path], part: int, record: int) -> Iterator[_Record]:
    """YIELDS (_Record): All records from one on: the `record`-th of the `part`-th file."""
    for i, file in enumerate(files[part:], part):
        skipped = record if i == part else 0
        for number, (where, content) in enumerate(islice(_contents(file), skipped, None), skipped):
            yield _Record(i, number, where, content)


def _contents(file: Path) -> Iterator[tuple[str, str | dict[str, Any]]]:
    if format_of(file) == "parquet":
        return ((where, _without_nulls(row)) for where, row in read_parquet(file))
    return ((where, line) for where, line in items_as_lines(read_lines(file)) if line.strip())


def _parse(record: _Record, *, is_first: bool) -> LinkedText:
    content = record.content
    row = parse_object(content, record.where) if isinstance(content, str) else content
    if is_first and "spans" not in row:
        warn_of_other_names(row, record.where)
    return text_from_dict(row, record.where)


def _without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """A Parquet file has the same fields in all spans; those that a span lacks are null."""
    return {
        name: [_present(item) for item in value] if isinstance(value, list) else value
        for name, value in row.items()
    }


def _present(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if value is not None}
