"""The output of a dump: parts that are written whole, and a manifest that says what they are.

OUT/manifest.json, OUT/entities/part-00000.jsonl …, OUT/texts/part-00000.jsonl …
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..entities.records import COUNT, LINK_PROBABILITY
from ..errors import ElqError, Errors
from ..files import atomic_file, write_json, write_jsonl

VERSION = 1
ENTITIES, TEXTS, MANIFEST = "entities", "texts", "manifest.json"
JSONL, PARQUET = "jsonl", "parquet"
FORMATS = (JSONL, PARQUET)
DATE = re.compile(r"(20\d\d)-?([01]\d)-?([0-3]\d)")
# Makes the `pyarrow.Schema` of a part; without one, each part has the columns of its records.
Schema = Callable[[], Any]


@dataclass(frozen=True)
class DumpManifest:
    """What a directory of parts was made from, and how.

    kind (str): "wikipedia" or "wikidata".
    snapshot (str): Date of the dump, YYYY-MM-DD; "" if unknown.
    languages (Sequence[str]): Wikipedia's language, or the languages of names in their order.
    licence (str): Of the content, as an SPDX identifier.
    counts (Mapping): What was read and kept, and what was left out, by reason.
    options (Mapping): The settings that determine the parts.
    problems (Sequence[str]): What was wrong with the dump.
    """

    kind: str
    snapshot: str
    languages: Sequence[str]
    licence: str
    counts: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = field(default_factory=list)
    version: int = VERSION

    def write(self, out: Path) -> None:
        """Put it into a directory of parts: the last step, which says that they are complete."""
        write_json(out / MANIFEST, asdict(self))

    @classmethod
    def read(cls, out: Path) -> DumpManifest:
        """RETURNS (DumpManifest): That of a directory of parts.
        RAISES (ElqError): If there is none that can be read."""
        try:
            return cls(**json.loads((out / MANIFEST).read_text(encoding="utf8")))
        except (OSError, ValueError, TypeError) as err:
            raise ElqError(Errors.ELQ362.format(path=out / MANIFEST, reason=err)) from None


def names_in(out: Path) -> set[str]:
    """RETURNS (set): Names of what a directory of parts holds, without the files that a killed run
    was writing, which are removed."""
    for directory in (out, out / ENTITIES, out / TEXTS):
        for left in directory.glob(".*.tmp"):
            left.unlink()
    return {path.name for path in out.iterdir()}


def date_in(name: str) -> str:
    """RETURNS (str): The date in the name of a dump, YYYY-MM-DD; "" if there is none."""
    dated = DATE.search(name)
    return "-".join(dated.groups()) if dated else ""


def part_path(directory: Path, number: int, format: str = JSONL) -> Path:
    """RETURNS (Path): The file of a part of OUT/entities or OUT/texts."""
    return directory / f"part-{number:05d}.{format}"


def write_part(
    path: Path, records: Iterable[Mapping[str, Any]], schema: Schema | None = None
) -> None:
    """Write a part as a whole, replacing it.

    path (Path): Its suffix says the format.
    records (Iterable[Mapping]): JSON objects; those of a Parquet part are in memory together.
    schema (Callable | None): The columns of a Parquet part.
    RAISES (ElqError): If Parquet needs a package that is not installed.
    """
    if path.suffix != f".{PARQUET}":
        write_jsonl(path, records)
        return
    pyarrow, parquet = _import_parquet(path)
    rows = [_with_uniform_aliases(record) for record in records]
    table = pyarrow.Table.from_pylist(rows, schema=schema() if schema else None)
    with atomic_file(path) as partial:
        parquet.write_table(table, partial)


def _import_parquet(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ElqError(Errors.ELQ248.format(path=path)) from None
    return pyarrow, parquet


def alias_column() -> Any:
    """RETURNS (pyarrow.DataType): Of aliases, with all that may be known of them."""
    import pyarrow as pa

    names = [("name", pa.string()), (COUNT, pa.int64()), (LINK_PROBABILITY, pa.float64())]
    return pa.list_(pa.struct(names))


def _with_uniform_aliases(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A column has one type: aliases with and without counts both become objects."""
    if not (aliases := record.get("aliases")):
        return record
    objects = [{"name": alias} if isinstance(alias, str) else alias for alias in aliases]
    return {**record, "aliases": objects}
