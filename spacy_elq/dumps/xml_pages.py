"""The pages of a MediaWiki XML dump, as a stream. Each page is parsed by itself: damage costs one
page, and no declaration of an XML document can reach it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from ..errors import ElqError, Errors
from ..files import UNREADABLE
from .compressed import DumpFile
from .site import Site

# Bytes read at once.
BLOCK = 1 << 18
# Bytes of a page; MediaWiki's limit is 2 MB of text.
MAX_PAGE = 64 << 20
# A dump has its first page before these bytes.
MAX_HEADER = 1 << 20
_BEGIN = re.compile(rb"<page[\s>]")
_END = b"</page>"
_DUMP_END = b"</mediawiki>"
_ENCODING = re.compile(rb"""^<\?xml[^>]*?\bencoding=["']([\w.-]+)["']""")
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}
_TITLE = re.compile(rb"<title>([^<]*)")


@dataclass(frozen=True)
class Page:
    """A page of a wiki, in its last revision.

    namespace (int | None): None in exports that do not say it.
    redirect (str): Where it leads; "" if it is no redirect, or an old export does not say it.
    timestamp (str): Of the revision, "2024-01-31T23:59:59Z".
    model (str): What the text is; "wikitext" unless the dump says otherwise.
    """

    title: str
    id: int
    text: str
    namespace: int | None = None
    redirect: str = ""
    timestamp: str = ""
    model: str = "wikitext"


class MalformedPage(ValueError):
    """A page whose XML can't be read."""


class PageReader:
    """Cuts a dump into the XML of its pages.

    site (Site): What the dump says about its wiki. Known after the first page.
    problem (str): What was wrong at the end of the dump; "" if nothing was.
    """

    def __init__(self, dump: DumpFile) -> None:
        self._dump = dump
        self.site = Site()
        self.problem = ""

    @property
    def path(self) -> Path:
        """RETURNS (Path): Of the dump."""
        return self._dump.path

    @property
    def size(self) -> int:
        """RETURNS (int): Bytes of the file."""
        return self._dump.size

    @property
    def position(self) -> int:
        """RETURNS (int): How many of them have been read."""
        return self._dump.position

    def __iter__(self) -> Iterator[bytes]:
        """YIELDS (bytes): From where a page begins to where the next one does, in UTF-8.
        RAISES (ElqError): If the file is no such dump."""
        stretch = b""
        for number, stretch in enumerate(cut_pages(_as_utf8(self._blocks()))):
            begins = [match.start() for match in _BEGIN.finditer(stretch)]
            if number == 0:
                self._read_header(stretch, begins)
            yield from (stretch[a:b] for a, b in pairwise([*begins, len(stretch)]))
        if not self.problem and _DUMP_END not in stretch:
            self.problem = Errors.ELQ346.format(path=self._dump.path, reason="its end is missing")

    def _read_header(self, start: bytes, begins: list[int]) -> None:
        if not begins and not (b"<mediawiki" in start and _DUMP_END in start):
            reason = self.problem or "there is no <page>"
            raise ElqError(Errors.ELQ347.format(path=self._dump.path, reason=reason))
        self.site = Site.parse(start[: begins[0] if begins else None].decode("utf8", "replace"))

    def _blocks(self) -> Iterator[bytes]:
        """YIELDS (bytes): The dump up to its end, or up to where it can't be read any further."""
        try:
            while block := self._dump.stream.read1(BLOCK):  # type: ignore[attr-defined]
                yield block
        except UNREADABLE as err:
            reason = str(err) or type(err).__name__
            self.problem = Errors.ELQ346.format(path=self._dump.path, reason=reason)


def _as_utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """YIELDS (bytes): The blocks in UTF-8, whatever the byte order mark or the XML declaration
    says."""
    first = next(blocks, b"")
    found = _ENCODING.match(first)
    encoding = found[1].decode().lower() if found else "utf-8"
    encoding = next((name for bom, name in _BOMS.items() if first.startswith(bom)), encoding)
    if encoding in ("utf-8", "utf8"):
        yield first
        yield from blocks
        return
    try:
        decoder = codecs.getincrementaldecoder(encoding)("replace")
    except LookupError:
        raise ElqError(Errors.ELQ347.format(path="The dump", reason=encoding)) from None
    yield decoder.decode(first).encode()
    yield from (decoder.decode(block).encode() for block in blocks)


def cut_pages(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """YIELDS (bytes): Stretches that end with a page; the first begins with what stands before it,
    the last is what comes after all pages."""
    rest, seen, most = bytearray(), 0, MAX_HEADER
    for block in blocks:
        rest += block
        begin = 0
        while (end := rest.find(_END, max(begin, seen))) >= 0:
            end += len(_END)
            yield bytes(rest[begin:end])
            begin, seen = end, 0
        del rest[:begin]
        seen = max(0, len(rest) - len(_END))
        most = MAX_PAGE if begin or _BEGIN.search(rest) else most
        if len(rest) > most:
            yield bytes(rest[:MAX_HEADER])  # which is no page
            rest, seen = bytearray(), 0
    yield bytes(rest)


def parse_page(stretch: bytes) -> Page:
    """Parse what `PageReader` yields.

    RAISES (MalformedPage): If that can't be done; its message names the page if possible.
    """
    try:
        return _page(ElementTree.fromstring(stretch.rstrip()))
    except (ElementTree.ParseError, ValueError) as err:
        title = _TITLE.search(stretch)
        name = title[1].decode("utf8", "replace") if title else "without a title"
        raise MalformedPage(f"{name}: {err}") from None


def _page(element: ElementTree.Element) -> Page:
    title = (element.findtext("title") or "").strip()
    if not title:
        raise ValueError("no title")
    namespace = element.findtext("ns")
    redirect = element.find("redirect")
    *_, revision = [element, *element.iterfind("revision")]
    return Page(
        title=title.replace("_", " "),
        id=int(element.findtext("id") or 0),
        text=revision.findtext("text") or "",
        namespace=None if namespace is None else int(namespace),
        redirect="" if redirect is None else redirect.get("title", ""),
        timestamp=revision.findtext("timestamp") or "",
        model=revision.findtext("model") or "wikitext",
    )
