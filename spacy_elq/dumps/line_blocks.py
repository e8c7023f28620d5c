"""The lines of a dump in blocks, which processes take in turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import ElqError, Errors
from ..files import MAX_LINE, UNREADABLE
from .compressed import DumpFile

# Bytes of lines that are parsed at once.
BLOCK = 1 << 22


class LineBlock(NamedTuple):
    """Whole lines.

    start (int): Where they begin in the decompressed dump.
    position (int): How much of the file has been read, see `DumpFile`.
    cut (str): Why nothing comes after them although the file goes on; "" otherwise.
    """

    text: bytes
    start: int
    position: int
    cut: str = ""

    @property
    def end(self) -> int:
        """RETURNS (int): Where the next block begins."""
        return self.start + len(self.text)


def line_blocks(dump: DumpFile, start: int = 0, size: int = BLOCK) -> Iterator[LineBlock]:
    """Read a dump in blocks of at least `size` bytes that end with a line. Damage ends the last of
    them, which has what comes before it, rather than being an error.

    start (int): Bytes of its decompressed content to skip.
    RAISES (ElqError): If a line is too long: the dump is not one entity a line.
    """
    rest, cut = bytearray(), ""
    blocks = _read_from(dump, start, size)
    while not cut and (read := next(blocks, None)):
        found, cut = read
        rest += found
        if end := rest.find(b"\n", size - 1) + 1:
            yield LineBlock(bytes(rest[:end]), start, dump.position)
            start += end
            del rest[:end]
        elif len(rest) > MAX_LINE:
            raise ElqError(Errors.ELQ363.format(path=dump.path, most=MAX_LINE))
    if rest or cut:
        yield LineBlock(bytes(rest), start, dump.position, cut)


def _read_from(dump: DumpFile, start: int, size: int) -> Iterator[tuple[bytes, str]]:
    """YIELDS (tuple[bytes, str]): The next bytes; at damage none, and what it is."""
    try:
        dump.skip(start)
        while found := dump.stream.read1(size):  # type: ignore[attr-defined]
            yield found, ""
    except UNREADABLE as err:
        yield b"", str(err) or type(err).__name__
