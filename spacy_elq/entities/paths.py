"""Which files a path stands for: one file, a directory of parts, or a pattern."""

from __future__ import annotations

import glob
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import check_file, without_compression

# Formats that have other suffixes than their names.
ALIASES = {
    ".json": "jsonl",
    ".ndjson": "jsonl",
    **dict.fromkeys((".owl", ".ttl", ".nt", ".skos"), "rdf"),
    ".RRF": "rrf",
}


def part_files(path: Path, what: str = "entities file") -> list[Path]:
    """List the files that a path stands for, in the order of their names, which is that of the
    rows.

    path (Path): A file, a directory of files, or a pattern such as "entities/part-*.jsonl". In a
        directory, names that begin with "." or "_" are left out: unfinished parts, marks of Spark.
    what (str): Names such a file in messages.
    RAISES (ElqError): If there is none.
    """
    if path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith((".", "_"))]
    elif stands_for_many(path):
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        found = [path]
    if not found:
        raise ElqError(Errors.ELQ315.format(path=path, what=what))
    for file in found:
        check_file(file, what)
    return sorted(found)


def stands_for_many(path: Path) -> bool:
    """RETURNS (bool): Whether a path is a directory or a pattern rather than a file."""
    return path.is_dir() or (not path.exists() and glob.has_magic(str(path)))


def format_of(path: Path) -> str:
    """RETURNS (str): The format that a suffix names, that of a compression left aside."""
    suffix = without_compression(path).suffix
    return ALIASES.get(suffix, suffix[1:])
