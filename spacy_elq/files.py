"""JSON lines in and out, and files that are replaced as a whole or not at all."""

from __future__ import annotations

import bz2
import errno
import gzip
import json
import lzma
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from .errors import ElqError, Errors

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What reading raises on a file that is cut, no UTF-8, or not compressed as its name says.
UNREADABLE = (UnicodeDecodeError, EOFError, lzma.LZMAError, zlib.error, OSError)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place once the block ends well, and is removed
    otherwise: readers see the old content or the new, never a part, even after a power failure.

    path (Path): The file to write; its folder is created. A link stays a link.
    YIELDS (Path): Where to write meanwhile. `path` itself if that is a device or a pipe.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        yield path
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
            where = broken_line(path, err) or where
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
        atomic_file(path) as partial,
        cast(TextIO, opener(partial, "wt", encoding="utf8", newline="\n")) as lines,
    ):
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_json(path: Path, value: Any) -> None:
    """Write one indented JSON value, replacing the file as a whole."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, replacing it as a whole."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf8")


def open_text(path: Path, newline: str | None = "\n") -> TextIO:
    """Open a text file to read, decompressed if its name ends in .gz, .bz2 or .xz.

    newline (str | None): As for `open`.
    RETURNS (TextIO): UTF-8; the byte order mark that some editors write is skipped.
    """
    opener = OPENERS.get(path.suffix, open)
    return cast(TextIO, opener(path, "rt", encoding="utf-8-sig", newline=newline))


def broken_line(path: Path, err: Exception) -> str:
    """Where a text file is no UTF-8: it is decoded in blocks, some lines ahead of the reader.

    err (Exception): What reading it raised.
    RETURNS (str): "file:line"; empty where that is not what is wrong, or not to be found.
    """
    if isinstance(err, UnicodeDecodeError) and path.is_file():  # a pipe can't be read again
        with OPENERS.get(path.suffix, open)(path, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    line.decode("utf8")
                except UnicodeDecodeError:
                    return f"{path}:{number}"
    return ""


def check_file(path: Path, what: str) -> None:
    """Raise an ElqError unless there is something at a path that can be read, a pipe included.

    what (str): What it should be.
    """
    if path.is_dir():
        raise ElqError(Errors.ELQ255.format(path=path, what=what))
    if not path.exists():
        raise ElqError(Errors.ELQ218.format(path=path, what=what))


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


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file that never changes in a second place, by a hard link where that can be."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
