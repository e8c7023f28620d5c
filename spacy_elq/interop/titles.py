"""ELQ's cached entities: `id2title.json`, and beside it `id2text.json` and `id2wikidata.json`, each
one JSON object from line number to text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..entities.elq import LINE_FIELD, UniqueIds, read_elq_entities
from ..errors import ElqError, Errors
from ..files import check_file
from ..types import Entity

TEXTS, IDS = "id2text.json", "id2wikidata.json"
# Characters that are read at once.
BLOCK = 1 << 20
_SPACE = re.compile(r"[\s,]*")
_COLON = re.compile(r"\s*:\s*")
_DECODER = json.JSONDecoder()


def read_catalogue(path: Path) -> Iterator[Entity]:
    """Stream ELQ's entities in the order of their lines.

    path (Path): `entity.jsonl`, or `id2title.json` with its companions beside it.
    YIELDS (Entity): Entities with their line number in `extra`.
    """
    return read_id2title(path) if path.suffix == ".json" else read_elq_entities(path)


def read_id2title(path: Path) -> Iterator[Entity]:
    """Stream the entities of `id2title.json`; descriptions and ids come from the files beside it,
    if they exist.

    YIELDS (Entity): One per number. The numbers must be 0, 1, 2, …
    """
    check_file(path, "entity titles")
    texts, ids = (_numbered(path.with_name(name)) for name in (TEXTS, IDS))
    text, known = next(texts, None), next(ids, None)
    unique = UniqueIds()
    for line, (number, title) in enumerate(_numbered(path)):
        if number != line or not title.strip():
            raise ElqError(Errors.ELQ506.format(path=path, number=number, expected=line))
        id_ = description = ""
        if known and known[0] == line:
            id_, known = known[1], next(ids, None)
        if text and text[0] == line:
            description, text = text[1], next(texts, None)
        yield Entity(unique(id_, line), title, description, extra={LINE_FIELD: line})


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    """The pairs of one JSON object, streamed because there are millions; none if the file is
    missing."""
    if not path.is_file():
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
    """Parse one string, reading on until its end is in the buffer."""
    while True:
        try:
            return _DECODER.raw_decode(buffer, place), buffer
        except ValueError:
            more = file.read(BLOCK)
            if not more:
                raise
            buffer += more
