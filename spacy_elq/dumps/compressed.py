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
from ..files import check_file

# Bytes read at once; of zstd less, which may become a thousand times as many.
BLOCK, ZSTD_BLOCK = 1 << 17, 1 << 10
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


class _ZstdFrames(io.RawIOBase):
    """The content of zstd frames. `zstandard.open` takes a cut file for a whole one."""

    def __init__(self, file: IO[bytes]) -> None:
        from zstandard import ZstdDecompressor

        # Frames of zstd's long mode need a window of up to 2 GB.
        self._new_frame: Callable[[], Any] = ZstdDecompressor(max_window_size=1 << 31).decompressobj
        self._file = file
        self._frame = self._new_frame()
        self._begun = False
        self._content = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content:
            if not self._decompress_more():
                return 0
        count = min(len(buffer), len(self._content))
        buffer[:count] = self._content[:count]
        self._content = self._content[count:]
        return count

    def _decompress_more(self) -> bool:
        """RETURNS (bool): False at the end of the last frame."""
        from zstandard import ZstdError

        block = self._frame.unused_data or self._file.read(ZSTD_BLOCK)
        if self._frame.eof:
            self._frame, self._begun = self._new_frame(), False
        if not block and self._begun:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        try:
            self._content = memoryview(self._frame.decompress(block)) if block else self._content
        except ZstdError as err:
            raise OSError(str(err)) from None
        self._begun = bool(block)
        return self._begun


def _open_zstd(file: IO[bytes]) -> IO[bytes]:
    try:
        return cast(IO[bytes], io.BufferedReader(_ZstdFrames(file), BLOCK))
    except ImportError:
        raise ElqError(Errors.ELQ361) from None


# How a compressed file begins → what reads it.
OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"BZh": bz2.open,
    b"\x1f\x8b": gzip.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
