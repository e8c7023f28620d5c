"""Text files: lines, JSON lines and tables in; files that are replaced as a whole out."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import json
import lzma
import os
import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from .errors import ElqError, Errors

OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# Raised when a file is cut, is not UTF-8, or is not compressed as its name says.
UNREADABLE = (UnicodeDecodeError, EOFError, lzma.LZMAError, zlib.error, OSError)
DIALECTS: dict[str, dict[str, Any]] = {
    "csv": {"delimiter": ",", "strict": True},
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
# Characters of a cell; the limit of `csv` itself is 131,072.
MAX_CELL = 2**31 - 1
# "file:line", for messages, and the object there.
Record = tuple[str, dict[str, Any]]


@contextmanager
def atomic_file(path: Path, *, follow: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces it when the block succeeds and is removed
    otherwise: readers see the old content or the new, never a part, even after a power failure.

    path (Path): The file to write; its directory is created.
    follow (bool): Let a symbolic link stay a link, and replace its target. Otherwise the link is
        replaced: in a directory that somebody else may have made.
    YIELDS (Path): The path to write to. `path` itself if that is a device or a pipe.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if follow and path.exists() and not path.is_file():
        yield path
        return
    path = Path(os.path.realpath(path)) if follow else path
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
    """Wait until a file, or the entries of a directory, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Stream the lines of a text file, decompressed if its name ends in .gz, .bz2 or .xz.

    YIELDS (tuple[str, str]): "file:line", for messages, and the line with its end.
    RAISES (ElqError): On the first line that can't be read as UTF-8.
    """
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        yield from decode_lines(file, str(path))


def decode_lines(file: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """Decode lines one at a time, so that an error names its line; see `read_lines`."""
    where = f"{name}:1"
    try:
        for number, line in enumerate(file, start=1):
            where = f"{name}:{number}"
            # The first line may begin with the byte order mark that some editors write.
            yield where, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UNREADABLE as err:
        raise ElqError(Errors.ELQ301.format(where=where, reason=err)) from None


def read_jsonl(path: Path) -> Iterator[Record]:
    """Stream the objects of a JSON lines file, compressed or not; blank lines are skipped.

    YIELDS (tuple[str, dict]): "file:line", for messages, and the object on that line.
    RAISES (ElqError): On a line that is not a JSON object, or can't be read as UTF-8.
    """
    for where, line in read_lines(path):
        if line.strip():
            yield where, parse_object(line, where)


def parse_object(line: str, where: str) -> dict[str, Any]:
    """Parse a line of a JSON lines file.

    where (str): Names the line in messages.
    RAISES (ElqError): If the line is not a JSON object.
    """
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():  # half of a surrogate pair can be read, but never written
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as err:
        raise ElqError(Errors.ELQ302.format(where=where, reason=err)) from None
    if not isinstance(value, dict):
        raise ElqError(Errors.ELQ303.format(where=where, found=type(value).__name__))
    return value


def read_table(path: Path, required: Sequence[str], dialect: str) -> Iterator[Record]:
    """Stream the rows of a table with a header; blank lines are skipped.

    required (Sequence[str]): Columns that the table must have.
    dialect (str): "csv", or "tsv", in which quotes are ordinary characters.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the row as an object of strings.
    RAISES (ElqError): On the first malformed row.
    """
    csv.field_size_limit(MAX_CELL)
    rows = csv.reader((line for _, line in read_lines(path)), **DIALECTS[dialect])
    end = 0  # last line of the previous row: a cell may hold line breaks
    try:
        names = [name.strip() for name in next(rows, [])]
        if not set(required) <= set(names) or len(set(names)) < len(names):
            needed, found = ", ".join(map(repr, required)), ", ".join(names) or "nothing"
            raise ElqError(Errors.ELQ245.format(where=f"{path}:1", needed=needed, found=found))
        end = rows.line_num
        for row in rows:
            where, end = f"{path}:{end + 1}", rows.line_num
            if row and len(row) != len(names):
                counts = {"found": len(row), "expected": len(names)}
                raise ElqError(Errors.ELQ247.format(where=where, **counts))
            if row:
                yield where, dict(zip(names, row, strict=True))
    except csv.Error as err:
        raise ElqError(Errors.ELQ301.format(where=f"{path}:{end + 1}", reason=err)) from None


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write objects as JSON lines, replacing the file as a whole; compressed if its name ends in
    .gz, .bz2 or .xz.

    records (Iterable[Mapping[str, Any]]): Consumed while the file is written.
    """
    # Chosen by the final name: the temporary file has another suffix.
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


def check_file(path: Path, what: str) -> None:
    """Raise an ElqError if a path does not exist or is a directory; a pipe is fine.

    what (str): Names the file in the message.
    """
    if path.is_dir():
        raise ElqError(Errors.ELQ255.format(path=path, what=what))
    if not path.exists():
        raise ElqError(Errors.ELQ218.format(path=path, what=what))


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file that never changes in a second place, as a hard link if possible. A symbolic link,
    as the files of a model hub's cache are, is followed: the second place has the file.

    RAISES (ElqError): If it leads nowhere.
    """
    try:
        file = source.resolve(strict=True)
    except (OSError, RuntimeError):  # a loop, before Python 3.13
        raise ElqError(Errors.ELQ280.format(path=source)) from None
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without hard links
        target.unlink(missing_ok=True)  # might be a link, whose target would be written
        shutil.copyfile(file, target)


def remove(path: Path) -> None:
    """Remove a directory and all that is in it, or a file, or a symbolic link, whose target
    stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
