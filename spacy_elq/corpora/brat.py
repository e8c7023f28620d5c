"""brat's standoff files: a directory of texts, `*.txt`, each with its annotations, `*.ann`.

```text
T1	city 0 5	Paris
N1	Reference T1 elq:Q90	Paris, the capital of France
T2	ENTITY 9 12;13 16	New York
A1	NIL T2
```

A mention (`T`) with a normalization (`N`) is linked; with the attribute `NIL` it has no entity;
with neither, its entity is not known. Offsets count characters; a mention goes around line breaks.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ..errors import ElqError, Errors
from ..files import read_lines
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText
from .tasks import LABEL, NO_ENTITY, mentions_of, text_of_task

TEXT, ANNOTATIONS = ".txt", ".ann"
# Name of the knowledge base in normalizations that are written here.
DATABASE = "elq"
CONFIGURATION = "annotation.conf"
MENTION = re.compile(r"T[^\t]*\t([^\t ]+) (\d+ \d+(?:;\d+ \d+)*)(?:\t(.*))?")
ENTITY = re.compile(r"N[^\t]*\tReference (\S+) ([^\s:]+):([^\t]*)(?:\t(.*))?")
NOTHING = re.compile(rf"[AM][^\t]*\t{NO_ENTITY} (\S+)")
NOTE = re.compile(r"#[^\t]*\tAnnotatorNotes (\S+)\t(.*)")
NOTE_FIELD = "note"
# Longest name of a file that is made of an id.
MAX_NAME = 200


@dataclass
class _Mention:
    start: int
    end: int
    label: str
    entities: list[tuple[str, str]] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)

    def spans(self) -> Iterator[dict[str, Any]]:
        span = {"start": self.start, "end": self.end, LABEL: self.label, **self.fields}
        for entity, title in self.entities:
            yield {**span, "id": entity} | ({"title": title} if title != entity else {})
        if not self.entities:
            yield span


def read_brat(path: Path, stats: ConversionStats) -> Iterator[LinkedText]:
    """Stream the texts of a directory and those below it, in the order of their names; or the text
    of one `.ann` file.

    stats (ConversionStats): Counts mentions that differ from the text.
    YIELDS (LinkedText): With its name, without suffix, as the field "id".
    RAISES (ElqError): If an `.ann` file has no text, or a line can't be read.
    """
    for base in _bases(path):
        text_file, annotations = base.with_suffix(TEXT), base.with_suffix(ANNOTATIONS)
        if not text_file.exists():
            raise ElqError(Errors.ELQ374.format(path=annotations, text=text_file))
        try:
            text = text_file.read_bytes().decode()
        except UnicodeDecodeError as err:
            raise ElqError(Errors.ELQ301.format(where=text_file, reason=err)) from None
        mentions = _mentions(annotations, text, stats) if annotations.exists() else {}
        spans = [span for mention in mentions.values() for span in mention.spans()]
        yield text_of_task(text, spans, {"id": unquote(base.name)}, str(annotations))


def write_brat(texts: Iterable[LinkedText], path: Path) -> None:
    """Write texts into a new directory, which appears when it is complete, with a configuration
    that allows what they contain.

    RAISES (ElqError): If there is something at the path, or two texts have the same `id`.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ElqError(Errors.ELQ375.format(path=path))
    path.absolute().parent.mkdir(parents=True, exist_ok=True)
    work = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    try:
        labels: set[str] = set()
        for number, linked in enumerate(texts):
            labels |= _write(linked, _base(linked, number, Path(work)))
        (Path(work) / CONFIGURATION).write_text(_configuration(labels), encoding="utf8")
        Path(work).chmod(0o777 & ~_umask())
        Path(work).replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def _bases(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path.with_suffix("")]
    files = (file for suffix in (TEXT, ANNOTATIONS) for file in path.rglob(f"*{suffix}"))
    return sorted({file.with_suffix("") for file in files})


def _mentions(path: Path, text: str, stats: ConversionStats) -> dict[str, _Mention]:
    """RETURNS (dict): Id → mention, in the order of the file."""
    lines = [(where, line.rstrip("\r\n")) for where, line in read_lines(path)]
    mentions: dict[str, _Mention] = {}
    for where, line in lines:
        if line.startswith("T"):
            mentions[line.partition("\t")[0]] = _mention(line, text, where, stats)
    for where, line in lines:
        if line.startswith("N"):
            if not (found := ENTITY.fullmatch(line)):
                raise ElqError(Errors.ELQ376.format(where=where, line=line[:60]))
            id_ = _plain(found[3]) if found[2] == DATABASE else found[3]
            _known(mentions, found[1], where).entities.append((id_, found[4] or id_))
        elif found := NOTHING.fullmatch(line):
            _known(mentions, found[1], where).entities.append((NO_ENTITY, NO_ENTITY))
        elif (found := NOTE.fullmatch(line)) and found[1].startswith("T"):
            _known(mentions, found[1], where).fields[NOTE_FIELD] = found[2]
    return mentions


def _known(mentions: dict[str, _Mention], id_: str, where: str) -> _Mention:
    if id_ not in mentions:
        raise ElqError(Errors.ELQ377.format(where=where, id=id_))
    return mentions[id_]


def _mention(line: str, text: str, where: str, stats: ConversionStats) -> _Mention:
    found = MENTION.fullmatch(line)
    if not found:
        raise ElqError(Errors.ELQ376.format(where=where, line=line[:60]))
    parts = [[int(place) for place in part.split()] for part in found[2].split(";")]
    start, end = parts[0][0], parts[-1][1]
    if not 0 <= start < end <= len(text):
        places = {"start": start, "end": end, "length": len(text)}
        raise ElqError(Errors.ELQ307.format(where=where, **places))
    surface = " ".join(text[start:end].split())
    stats.displaced += found[3] is not None and " ".join(found[3].split()) != surface
    return _Mention(start, end, found[1])


def _base(linked: LinkedText, number: int, directory: Path) -> Path:
    """RETURNS (Path): The files of a text, without suffix: by its id, or numbered."""
    id_ = linked.fields.get("id")
    name = quote(id_, safe=" ").replace(".", "%2E") if isinstance(id_, str) else ""
    base = directory / (name if 0 < len(name) <= MAX_NAME else f"{number:06}")
    if base.with_suffix(TEXT).exists():
        raise ElqError(Errors.ELQ378.format(number=number, id=unquote(base.name)))
    return base


def _write(linked: LinkedText, base: Path) -> set[str]:
    """RETURNS (set[str]): The types of mentions that were written."""
    spans = mentions_of(linked)
    lines = [line for i, span in enumerate(spans, 1) for line in _lines(i, span, linked.text)]
    base.with_suffix(TEXT).write_bytes(linked.text.encode())
    base.with_suffix(ANNOTATIONS).write_bytes("".join(f"{line}\n" for line in lines).encode())
    return {_type(span) for span in spans}


def _lines(number: int, span: LinkedSpan, text: str) -> Iterator[str]:
    parts = [
        (found.start() + span.start, found.end() + span.start)
        for found in re.finditer(r"[^\n\r]+", text[span.start : span.end])
    ] or [(span.start, span.end)]
    places = ";".join(f"{start} {end}" for start, end in parts)
    surface = " ".join(_line(text[start:end]) for start, end in parts)
    yield f"T{number}\t{_type(span)} {places}\t{surface}"
    if span.id == NO_ENTITY:
        yield f"A{number}\t{NO_ENTITY} T{number}"
    else:
        title = _line(str(span.fields.get("title") or span.id))
        yield f"N{number}\tReference T{number} {DATABASE}:{_escaped(span.id)}\t{title}"
    if note := span.fields.get(NOTE_FIELD):
        yield f"#{number}\tAnnotatorNotes T{number}\t{_line(str(note))}"


def _line(text: str) -> str:
    return re.sub(r"[\t\n\r]", " ", text)


def _type(span: LinkedSpan) -> str:
    return re.sub(r"[^\w-]", "_", span.label)


def _escaped(id_: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found[0]), id_)


def _plain(id_: str) -> str:
    return unquote(id_)


def _configuration(labels: set[str]) -> str:
    return (
        "\n".join(
            [
                "[entities]",
                *sorted(labels),
                "",
                "[relations]",
                "",
                "[events]",
                "",
                "[attributes]",
                "",
            ]
        )
        + f"{NO_ENTITY} Arg:<ENTITY>\n"
    )
