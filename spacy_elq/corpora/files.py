"""JSON lines in and out, and files that are replaced as a whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from ..errors import ElqError, Errors

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What reading raises on a file that is cut, no UTF-8, or not compressed as its name says.
UNREADABLE = (UnicodeDecodeError, EOFError, lzma.LZMAError, OSError)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block ends well, and is removed
    otherwise: readers see the old content or the new, never a part.

    path (Path): The file to write; its folder is created.
    YIELDS (Path): Where to write meanwhile. `path` itself if that is a device or a pipe.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = Path(os.path.realpath(path))  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the objects of a JSON lines file, compressed or not; blank lines are skipped.

    path (Path): The file.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the object of that line.
    RAISES (ElqError): On a line that is no JSON object, or a file that can't be read as UTF-8.
    """
    with open_text(path) as lines:
        where = f"{path}:1"
        try:
            for number, line in enumerate(lines, start=1):
                where = f"{path}:{number}"
                if line.strip():
                    yield where, parse_object(line, where)
        except UNREADABLE as err:
            raise ElqError(Errors.ELQ301.format(where=where, reason=err)) from None


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write objects as JSON lines, replacing the file as a whole; compressed if its name ends in
    .gz, .bz2 or .xz.

    path (Path): The file.
    records (Iterable[Mapping[str, Any]]): Consumed as it is written.
    """
    # The name decides: a temporary file carries another suffix.
    opener = OPENERS.get(path.suffix, open)
    with (
        replacing(path) as partial,
        cast(TextIO, opener(partial, "wt", encoding="utf8", newline="\n")) as lines,
    ):
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, replacing the file as a whole."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, replacing it as a whole."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf8")


def open_text(path: Path, newline: str | None = "\n") -> TextIO:
    """Open a text file to read, decompressed if its name ends in .gz, .bz2 or .xz.

    newline (str | None): As for `open`.
    RETURNS (TextIO): UTF-8; the byte order mark that some editors write is skipped.
    """
    opener = OPENERS.get(path.suffix, open)
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig", newline=newline))


def parse_object(line: str, where: str) -> dict[str, Any]:
    """RETURNS (dict): The object of a JSON line; an ElqError that says `where` if it is none."""
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():  # half of a surrogate pair can be read, but never written
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:
        raise ElqError(Errors.ELQ302.format(where=where, reason=err)) from None
    if not isinstance(value, dict):
        raise ElqError(Errors.ELQ303.format(where=where, found=type(value).__name__))
    return value
