"""Terms of an ontology in OBO 1.4, read a line at a time: what names and describes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import Record, read_lines

STANZA = re.compile(r"\[(\w+)\]")
TERM = "Term"
TAG = re.compile(r"([\w-]+):\s*(.*)")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(\w*)')
ESCAPED = re.compile(r"\\(.)")
SPECIAL = {"n": "\n", "t": "\t", "W": " "}
# After a value: a comment, and qualifiers.
END = re.compile(r"\s*(?<!\\)(\{[^{}]*\}\s*)?(?:(?<!\\)![^\n]*)?$")
# Scopes of names for the term itself; the others are of something wider or narrower.
OF_TERM = ("EXACT", "RELATED", "")


def read_obo(path: Path) -> Iterator[Record]:
    """Stream the terms of a file. Obsolete terms, and those without a name, are left out.

    YIELDS (tuple[str, dict]): "file:line" of the stanza, and the entity as an object.
    RAISES (ElqError): If a line of a term can't be read.
    """
    namespace = ""
    for where, kind, tags in _stanzas(path):
        if kind == "":
            namespace = _first(tags, "default-namespace")
        elif kind == TERM and _first(tags, "name") and _first(tags, "is_obsolete") != "true":
            yield where, _record(tags, namespace)


def _stanzas(path: Path) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """YIELDS (tuple): "file:line" of each stanza, its kind, "" for the header, and the tags with
    their values and places."""
    tags: list[tuple[str, str, str]] = []
    where, kind = f"{path}:1", ""
    for place, line in read_lines(path):
        line = line.strip()
        if not line or line.startswith("!"):
            continue
        if found := STANZA.fullmatch(END.sub("", line)):
            yield where, kind, tags
            where, kind, tags = place, found[1], []
        elif found := TAG.fullmatch(line):
            tags.append((found[1], found[2], place))
        else:
            raise ElqError(Errors.ELQ383.format(where=place, line=line[:60]))
    yield where, kind, tags


def _record(tags: list[tuple[str, str, str]], namespace: str) -> dict[str, Any]:
    synonyms = [_quoted(value, place) for tag, value, place in tags if tag == "synonym"]
    record = {
        "id": _first(tags, "id"),
        "title": _first(tags, "name"),
        "description": next((_quoted(v, p)[0] for t, v, p in tags if t == "def"), ""),
        "aliases": [name for name, scope in synonyms if scope in OF_TERM],
        "type": _first(tags, "namespace") or namespace,
        "other_names": [name for name, scope in synonyms if scope not in OF_TERM],
        "alt_ids": _values(tags, "alt_id"),
        "xrefs": [value.split(' "')[0] for value in _values(tags, "xref")],
        "parents": _values(tags, "is_a"),
    }
    return {name: value for name, value in record.items() if value or name == "id"}


def _quoted(value: str, place: str) -> tuple[str, str]:
    """RETURNS (tuple[str, str]): The quoted text at the beginning of a value, and the word after
    it."""
    if not (found := QUOTED.match(value)):
        raise ElqError(Errors.ELQ383.format(where=place, line=value[:60]))
    return _plain(found[1]), found[2]


def _values(tags: list[tuple[str, str, str]], name: str) -> list[str]:
    return [_plain(END.sub("", value)) for tag, value, _ in tags if tag == name]


def _first(tags: list[tuple[str, str, str]], name: str) -> str:
    return next(iter(_values(tags, name)), "")


def _plain(value: str) -> str:
    return ESCAPED.sub(lambda found: SPECIAL.get(found[1], found[1]), value).strip()
