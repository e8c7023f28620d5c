"""The pages of a dump in blocks, which processes read and write as shards: in turn, or where a
multistream dump's index says that they are."""

from __future__ import annotations

import bz2
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import UNREADABLE, read_lines
from .site import Site
from .xml_pages import PageReader, cut_pages

# Pages and bytes of XML of a block.
MAX_PAGES, MAX_BYTES = 5_000, 64 << 20
# Pages of a stream of a multistream dump.
STREAM_PAGES = 100
_DUMP, _INDEX = "-multistream.xml.bz2", "-multistream-index.txt.bz2"


@dataclass(frozen=True)
class PageBlock:
    """Pages of a dump.

    pages (Iterable[bytes] | None): As `PageReader` yields them; None if they are not needed.
    size (int): Number of pages, as far as it is known.
    position (int): How much of the file has been read then.
    """

    number: int
    pages: Iterable[bytes] | None
    size: int
    site: Site
    position: int = 0

    def without_pages(self) -> PageBlock:
        return replace(self, pages=None)


def page_blocks(reader: PageReader) -> Iterator[PageBlock]:
    """YIELDS (PageBlock): The pages of a dump that is read from its beginning to its end."""
    pages: list[bytes] = []
    number = size = 0
    for page in reader:
        pages.append(page)
        size += len(page)
        if len(pages) == MAX_PAGES or size >= MAX_BYTES:
            yield PageBlock(number, pages, len(pages), reader.site, reader.position)
            number, pages, size = number + 1, [], 0
    if pages:
        yield PageBlock(number, pages, len(pages), reader.site, reader.position)


def index_beside(dump: Path) -> Path | None:
    """RETURNS (Path | None): The index of a multistream dump, if it is there."""
    if not dump.name.endswith(_DUMP):
        return None
    index = dump.with_name(dump.name.removesuffix(_DUMP) + _INDEX)
    return index if index.exists() else None


def indexed_blocks(reader: PageReader, index: Path) -> Iterator[PageBlock]:
    """YIELDS (PageBlock): The pages of a multistream dump, which are read where they are needed.
    RAISES (ElqError): If the index is that of another dump."""
    next(iter(reader), None)  # the first stream says what wiki it is
    reader.problem = ""
    ends = [*_offsets(index), reader.size]
    if len(ends) < 2 or ends != sorted(ends):
        reason = f"it ends at byte {ends[-2] if len(ends) > 1 else 0}, the dump at {reader.size}"
        raise ElqError(Errors.ELQ350.format(path=index, reason=reason))
    bounds = [*ends[: -1 : MAX_PAGES // STREAM_PAGES], ends[-1]]
    for number, (start, end) in enumerate(pairwise(bounds)):
        pages = StreamPages(reader.path, start, end)
        yield PageBlock(number, pages, MAX_PAGES, reader.site, end)


def _offsets(index: Path) -> Iterator[int]:
    """YIELDS (int): Where the streams begin that hold pages."""
    last = -1
    for where, line in read_lines(index):
        offset, _, _ = line.partition(":")
        if not offset.isdecimal():
            raise ElqError(Errors.ELQ350.format(path=where, reason="a line names no offset"))
        if int(offset) != last:
            last = int(offset)
            yield last


@dataclass(frozen=True)
class StreamPages:
    """The pages of some streams of a multistream dump.

    start, end (int): Bytes of the file.
    """

    path: Path
    start: int
    end: int

    def __iter__(self) -> Iterator[bytes]:
        """YIELDS (bytes): As `PageReader` does. Damage is one malformed page."""
        damage: list[str] = []
        for stretch in cut_pages(self._blocks(damage)):
            if b"<page>" in stretch:
                yield stretch[stretch.index(b"<page>") :]
        for reason in damage:
            yield f"<title>The streams from byte {self.start} to {self.end}, {reason}".encode()

    def _blocks(self, damage: list[str]) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.end - self.start)
        while content:
            stream = bz2.BZ2Decompressor()
            try:
                yield stream.decompress(content)
            except UNREADABLE as err:
                damage.append(str(err))
                return
            if not stream.eof:
                damage.append("a stream is cut")
            content = stream.unused_data if stream.eof else b""
