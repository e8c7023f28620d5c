"""Text files: lines, JSON lines and tables in; files that are replaced as a whole out."""

from __future__ import annotations

import bz2
import codecs
import csv
import errno
import gzip
import io
import json
import lzma
import os
import secrets
import shutil
import tempfile
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar, cast

from .errors import ElqError, Errors

zstd: Any
try:
    from backports import zstd  # Python 3.14 has it as compression.zstd
except ImportError:
    zstd = None

# Raised when a file is cut, or is not compressed as its name says.
ZstdError: type[Exception] = EOFError if zstd is None else zstd.ZstdError
UNREADABLE = (EOFError, lzma.LZMAError, zlib.error, ZstdError, OSError)
# Bytes of a line, and so of a text: parsed JSON takes many times as much memory.
MAX_LINE = 64 << 20
# As `json.dumps` without looking for circles, which takes a fifth of its time.
_encoded = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
DIALECTS: dict[str, dict[str, Any]] = {
    "csv": {"delimiter": ",", "strict": True},
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
# "file:line", for messages, and the object there.
Record = tuple[str, dict[str, Any]]
Parsed = TypeVar("Parsed")
# Called with the error of a bad line. If it returns, the line is left out.
OnBadLine = Callable[[ElqError], None]


def open_zstd(file: Path | IO[bytes], mode: str = "rb", **options: Any) -> Any:
    """As `gzip.open`."""
    if zstd is None:
        raise ElqError(Errors.ELQ361)
    if "r" in mode:  # frames of zstd's long mode need a window of up to 2 GB
        options["options"] = {zstd.DecompressionParameter.window_log_max: 31}
    return zstd.open(file, mode, **options)


OPENERS: dict[str, Any] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": open_zstd,
}


def without_compression(path: Path) -> Path:
    """RETURNS (Path): The path without a suffix that names a compression."""
    return path.with_suffix("") if path.suffix in OPENERS else path


def stop(error: ElqError) -> None:
    """The `OnBadLine` that ends reading."""
    raise error from None


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
        with naming(path, partial):
            yield partial
            sync(partial)
            partial.replace(path)
            sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError in the block name the file: that of a full disk names none.

    temporary (Path | None): The path that it may name instead.
    """
    try:
        yield
    except OSError as err:
        is_unnamed = err.filename is None and err.errno is not None
        if is_unnamed or (temporary is not None and err.filename == str(temporary)):
            err.filename = str(path)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_lines(path: Path, on_bad: OnBadLine = stop) -> Iterator[tuple[str, str]]:
    """Stream the lines of a text file, decompressed if its name ends in .gz, .bz2, .xz or .zst.

    on_bad (Callable): Called for a line that is not UTF-8 or is longer than `MAX_LINE`.
    YIELDS (tuple[str, str]): "file:line", for messages, and the line with its end.
    RAISES (ElqError): If the file is cut, or not compressed as its name says.
    """
    with OPENERS.get(path.suffix, open)(path, "rb") as file, _utf8_lines(file, path) as lines:
        yield from decode_lines(lines, str(path), on_bad)


@contextmanager
def _utf8_lines(file: Any, path: Path) -> Iterator[Any]:
    """The file itself; of UTF-16, and of lines that end in carriage returns alone, a temporary copy
    in UTF-8 with line feeds.

    YIELDS (BinaryIO): A file to read.
    """
    try:
        start = file.peek(1)
        encoding = _encoding(start)
        begin = start.decode(encoding, "ignore")
        is_one_line = "\r" in begin and "\n" not in begin
        if encoding != "utf-16" and not is_one_line:
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            text = io.TextIOWrapper(file, encoding, newline=None if is_one_line else "")
            while block := text.read(1 << 20):
                copy.write(block.encode())
            copy.seek(0)
            yield copy
    except (*UNREADABLE, UnicodeError) as err:
        raise ElqError(Errors.ELQ301.format(where=path, reason=err)) from None


def _encoding(start: bytes) -> str:
    """RETURNS (str): UTF-16 if a file begins so. Any bytes are some UTF-16, but text has spaces,
    brackets or line ends."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16" if any(map(str.isascii, start.decode("utf-16", "ignore"))) else "utf-8"
    return "utf-8-sig"


def decode_lines(file: IO[bytes], name: str, on_bad: OnBadLine = stop) -> Iterator[tuple[str, str]]:
    """Decode lines one at a time, so that an error names its line; see `read_lines`."""
    return parse_each(_raw_lines(file, name, on_bad), _decode, on_bad)


def parse_each(
    lines: Iterable[tuple[str, Any]], parse: Callable[[Any, str], Parsed], on_bad: OnBadLine
) -> Iterator[tuple[str, Parsed]]:
    """YIELDS (tuple): "file:line", and what `parse` made of the line and that; without the lines
    for which it raises an ElqError."""
    for where, line in lines:
        try:
            parsed = parse(line, where)
        except ElqError as err:
            on_bad(err)
        else:
            yield where, parsed


def _raw_lines(file: IO[bytes], name: str, on_bad: OnBadLine) -> Iterator[tuple[str, bytes]]:
    number, where = 0, f"{name}:1"
    try:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            where = f"{name}:{number}"
            if len(line) <= MAX_LINE or line.endswith(b"\n"):
                # The first line may begin with the byte order mark that some editors write.
                yield where, line.removeprefix(BOM_UTF8) if number == 1 else line
                continue
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            on_bad(ElqError(Errors.ELQ314.format(where=where, most=MAX_LINE)))
    except UNREADABLE as err:
        raise ElqError(Errors.ELQ301.format(where=where, reason=err)) from None


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as err:
        raise ElqError(Errors.ELQ301.format(where=where, reason=err)) from None


def read_jsonl(path: Path, on_bad: OnBadLine = stop) -> Iterator[Record]:
    """Stream the objects of a JSON lines file, compressed or not; blank lines are skipped. The file
    may also be one JSON array of objects.

    on_bad (Callable): Called for a line that is not a JSON object, or can't be read.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the object on that line.
    """
    return parse_objects(read_lines(path, on_bad), on_bad)


def parse_objects(lines: Iterable[tuple[str, str]], on_bad: OnBadLine = stop) -> Iterator[Record]:
    """YIELDS (tuple[str, dict]): As `read_jsonl`, from lines as `read_lines` yields them."""
    items = ((where, line) for where, line in items_as_lines(iter(lines)) if line.strip())
    return parse_each(items, parse_object, on_bad)


def items_as_lines(lines: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """YIELDS (tuple[str, str]): The lines; if they are one JSON array, its items instead, each with
    the line where it begins."""
    where, first = next(lines, ("", ""))
    while first.isspace():
        where, first = next(lines, ("", ""))
    if (bare := first.lstrip()).startswith("["):
        lines = _array_items(chain([(where, bare[1:])], lines))
    else:
        yield where, first
    yield from lines


def _array_items(lines: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """YIELDS (tuple[str, str]): The items of an array whose "[" has been read."""
    decode = json.JSONDecoder().raw_decode
    rest, begun = "", ""
    for where, line in lines:
        begun = begun if rest else where
        text, rest, end = rest + line, "", 0
        while (begin := _skip_commas(text, end)) < len(text):
            if text[begin] == "]":
                _check_blank(where, text[begin + 1 :], lines)
                return
            try:
                _, end = decode(text, begin)
            except (ValueError, RecursionError) as err:
                if getattr(err, "pos", 0) < len(text.rstrip()):
                    raise ElqError(Errors.ELQ302.format(where=begun, reason=err)) from None
                rest = text[begin:]  # the item goes on in the next line
                break
            yield begun, text[begin:end]
            begun = where
    raise ElqError(Errors.ELQ302.format(where=begun, reason="the array has no end"))


def _skip_commas(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _check_blank(where: str, rest: str, lines: Iterable[tuple[str, str]]) -> None:
    for place, line in chain([(where, rest)], lines):
        if line.strip():
            raise ElqError(Errors.ELQ302.format(where=place, reason="the array has ended before"))


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


def read_table(
    path: Path,
    required: Sequence[str],
    dialect: str,
    on_bad: OnBadLine = stop,
    *,
    columns: Sequence[str] = (),
    rename: Callable[[list[str]], list[str]] = list,
    advice: str = "",
) -> Iterator[Record]:
    """Stream the rows of a table; blank lines are skipped. Empty columns at the end, as
    spreadsheets write them, are left out.

    required (Sequence[str]): Columns that the table must have.
    dialect (str): "csv", or "tsv", in which quotes are ordinary characters.
    on_bad (Callable): Called for a row with another number of cells than there are columns.
    columns (Sequence[str]): The columns; if empty, the first line names them. A first line that
        names just these is no row.
    rename (Callable): Gives the columns the names that they have in rows.
    advice (str): Ends the message about columns that are wrong.
    YIELDS (tuple[str, dict]): "file:line", for messages, and the row as an object of strings.
    RAISES (ElqError): If the rows after some place can't be told apart.
    """
    csv.field_size_limit(MAX_LINE)  # of `csv` itself: 131,072
    rows = csv.reader((line for _, line in read_lines(path)), **DIALECTS[dialect])
    end = 0  # last line of the previous row: a cell may hold line breaks
    try:
        where = "--columns" if columns else f"{path}:1: the first line"
        header = [name.strip() for name in columns or next(rows, [])]
        named = _without_blank_end(header, 0)
        names = rename(named)
        _check_columns(names, required, where, advice)
        end = rows.line_num
        for row in rows:
            where, end = f"{path}:{end + 1}", rows.line_num
            may_be_shorter = columns or len(row) <= len(header)
            cells = _without_blank_end(row, len(names)) if may_be_shorter else row
            if columns and end == 1 and [cell.strip() for cell in cells] == named:
                continue
            if row and len(cells) != len(names):
                counts = {"found": len(row), "expected": len(names)}
                on_bad(ElqError(Errors.ELQ247.format(where=where, **counts)))
            elif row:
                yield where, dict(zip(names, cells, strict=True))
    except csv.Error as err:
        raise ElqError(Errors.ELQ301.format(where=f"{path}:{end + 1}", reason=err)) from None


def _without_blank_end(cells: list[str], least: int) -> list[str]:
    """RETURNS (list[str]): The cells up to the last one that is not blank, but at least so many."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _check_columns(names: Sequence[str], required: Sequence[str], where: str, advice: str) -> None:
    """Raise an ElqError if a column is missing, or is named twice."""
    missing = [name for name in required if name not in names]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if missing:
        problem = f"there is no {missing[0]!r} in: {', '.join(names) or 'nothing'}"
    elif repeated == [""]:
        places = [str(i) for i, name in enumerate(names, 1) if not name]
        problem = f"columns {' and '.join(places)} have no name"
    elif repeated:
        problem = f"{repeated[0]!r} is there more than once"
    else:
        return
    needed = ", ".join(map(repr, required))
    raise ElqError(Errors.ELQ245.format(where=where, needed=needed, problem=problem, advice=advice))


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write objects as JSON lines, replacing the file as a whole; compressed if its name ends in
    .gz, .bz2, .xz or .zst.

    records (Iterable[Mapping[str, Any]]): Consumed while the file is written.
    """
    # Chosen by the final name: the temporary file has another suffix.
    opener = OPENERS.get(path.suffix, open)
    with (
        atomic_file(path) as partial,
        cast(TextIO, opener(partial, "wt", encoding="utf8", newline="\n")) as lines,
    ):
        for record in records:
            lines.write(_encoded(record) + "\n")


def write_json_array(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON array, an object a line, replacing the file as a whole.

    records (Iterable[Mapping[str, Any]]): Consumed while the file is written.
    """
    with atomic_file(path) as partial, partial.open("w", encoding="utf8", newline="\n") as file:
        before = "["
        for record in records:
            file.write(f"{before}\n{json.dumps(record, ensure_ascii=False)}")
            before = ","
        file.write("\n]\n" if before == "," else "[]\n")


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
