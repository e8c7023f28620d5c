"""ELQ's entities as it caches them: `id2title.json`, and beside it `id2text.json` and
`id2wikidata.json`, each one object from line number to text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..entities.elq import LINE_FIELD, read_elq_entities
from ..errors import ElqError, Errors
from ..types import Entity

TITLES, TEXTS, IDS = "id2title.json", "id2text.json", "id2wikidata.json"
BLOCK = 1 << 20
_SPACE = re.compile(r"[\s,]*")
_COLON = re.compile(r"\s*:\s*")
_DECODER = json.JSONDecoder()


def read_catalogue(path: Path) -> Iterator[Entity]:
    """Read ELQ's entities in the order of their lines, one at a time.

    path (Path): `entity.jsonl`, or `id2title.json` with its companions beside it.
    YIELDS (Entity): Its line number is in `extra`.
    """
    return read_id2title(path) if path.suffix == ".json" else read_elq_entities(path)


def read_id2title(path: Path) -> Iterator[Entity]:
    """Read `id2title.json`; descriptions and ids come from the files beside it, if they are there.

    Ids are made as `read_elq_entities` makes them.

    YIELDS (Entity): One for each number, which must go 0, 1, 2, …
    """
    texts, ids = (_numbered(path.with_name(name), needed=False) for name in (TEXTS, IDS))
    text, known = next(texts, None), next(ids, None)
    seen: set[int] = set()
    for line, (number, title) in enumerate(_numbered(path, needed=True)):
        if number != line or not title.strip():
            raise ElqError(Errors.ELQ506.format(path=path, number=number, expected=line))
        id_, description = str(line), ""
        if known and known[0] == line:
            id_, known = known[1] or id_, next(ids, None)
        if text and text[0] == line:
            description, text = text[1], next(texts, None)
        if hash(id_) in seen:
            id_ = f"{id_}#{line}"
        seen.add(hash(id_))
        yield Entity(id_, title, description, extra={LINE_FIELD: line})


def _numbered(path: Path, *, needed: bool) -> Iterator[tuple[int, str]]:
    """The pairs of one JSON object; a few million of them are not kept in memory."""
    if not path.is_file():
        if needed:
            raise ElqError(Errors.ELQ218.format(path=path, what="entity titles"))
        return
    with path.open(encoding="utf8") as file:
        try:
            for key, value in _pairs(file):
                yield int(key), str(value)
        except ValueError as error:
            raise ElqError(Errors.ELQ505.format(path=path, reason=error)) from None


def _pairs(file: TextIO) -> Iterator[tuple[str, str]]:
    buffer = file.read(BLOCK).lstrip()
    if not buffer.startswith("{"):
        raise ValueError("it does not begin with {")
    place = 1
    while True:
        if len(buffer) - place < BLOCK:
            buffer, place = buffer[place:] + file.read(BLOCK), 0
        place = _SPACE.match(buffer, place).end()  # type: ignore[union-attr]
        if buffer.startswith("}", place):
            return
        (key, place), buffer = _value(buffer, place, file)
        colon = _COLON.match(buffer, place)
        if colon is None:
            raise ValueError(f"no value for {key!r}")
        (value, place), buffer = _value(buffer, colon.end(), file)
        yield key, value


def _value(buffer: str, place: int, file: TextIO) -> tuple[tuple[str, int], str]:
    """One string, reading on as long as its end is not there."""
    while True:
        try:
            return _DECODER.raw_decode(buffer, place), buffer
        except ValueError:
            more = file.read(BLOCK)
            if not more:
                raise
            buffer += more
