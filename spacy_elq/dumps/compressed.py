"""Compressed dumps as streams of bytes, and how far into the file they have been read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from ..errors import ElqError, Errors
from ..files import check_file, open_zstd

# Bytes read at once.
BLOCK = 1 << 17
# How archives begin, which hold files rather than compress one.
ARCHIVES = {b"7z\xbc\xaf\x27\x1c": "7z", b"PK\x03\x04": "zip", b"Rar!": "rar"}


class DumpFile(AbstractContextManager["DumpFile"]):
    """A file, decompressed while it is read. How it is compressed is seen from its first bytes,
    whatever its name says.

    path (Path): A file (.bz2, .gz, .zst, .xz or plain), or a pipe.

    stream (BinaryIO): Its decompressed bytes. Reading raises one of `UNREADABLE` in `files.py` if
        the file is cut or damaged. What comes before the damage is read with `read1`: `read` loses
        the bytes that it has collected.
    size (int): Bytes of the file as it is on disk; 0 for a pipe.
    """

    def __init__(self, path: Path) -> None:
        check_file(path, "dump")
        self.path = path
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb"))
            self.size = path.stat().st_size
            stream = _decompressed(path, self._file)
            self.stream: BinaryIO = opened.enter_context(cast(BinaryIO, stream))
            self._opened = opened.pop_all()

    @property
    def position(self) -> int:
        """RETURNS (int): How many bytes of the file have been read, of `size`; 0 for a pipe."""
        return self._file.tell() if self.size else 0

    def skip(self, count: int) -> None:
        """Read over some decompressed bytes."""
        if self.size and self.stream is self._file:
            self.stream.seek(count, io.SEEK_CUR)
            return
        while count and (block := self.stream.read1(min(count, 8 * BLOCK))):  # type: ignore[attr-defined]
            count -= len(block)

    def __exit__(self, *error: object) -> None:
        self._opened.close()


def _decompressed(path: Path, file: io.BufferedReader) -> IO[bytes]:
    start = file.peek(6)
    for magic, kind in ARCHIVES.items():
        if start.startswith(magic):
            raise ElqError(Errors.ELQ360.format(path=path, kind=kind))
    for magic, opener in OPENERS.items():
        if start.startswith(magic):
            return opener(file)
    return file


# How a compressed file begins → what reads it.
OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"BZh": bz2.open,
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": open_zstd,
}
