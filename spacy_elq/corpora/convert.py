"""Between file formats of linked texts: one table of formats, each a reader and a writer of rows.

A new format is one more line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from spacy.language import Language

from ..encoders.model_paths import MINILM
from ..errors import ElqError, Errors
from . import elevant
from .docbin import read_docbin, write_docbin
from .elq_format import ElqReader, ElqWriter, write_raw
from .elq_outs import OutsReader, OutsWriter
from .entity_lines import EntityLines
from .nif import WIKIDATA, EntityUris, read_nif, write_nif
from .spans_jsonl import (
    ConversionStats,
    LinkedText,
    docs_from_texts,
    read_spans_jsonl,
    text_from_doc,
    write_spans_jsonl,
)
from .wordpieces import Wordpieces


@dataclass
class Context:
    """What formats need beside a file, each as far as it needs it.

    nlp (Language): Whose tokenizer and vocabulary are used by formats of tokens.
    catalogue (Path | None): The entities that formats with line numbers count.
    tokenizer (str): Of the model whose wordpieces a file counts: "minilm", directory or hub id.
    entity_uri (str): What precedes an entity's id in formats that name entities by addresses.
    stats (ConversionStats): Counts what is converted and what has to be changed.
    """

    nlp: Language
    catalogue: Path | None = None
    tokenizer: str = MINILM
    entity_uri: str = WIKIDATA
    stats: ConversionStats = field(default_factory=ConversionStats)

    @cached_property
    def entities(self) -> EntityLines | None:
        return None if self.catalogue is None else EntityLines(self.catalogue)

    @cached_property
    def wordpieces(self) -> Wordpieces:
        return Wordpieces(self.tokenizer)


@dataclass(frozen=True)
class Format:
    """One file format.

    suffixes (tuple[str, ...]): File names that end so are of this format unless told otherwise;
        the first is given to new files.
    read (Callable): (path, context) → the rows of the file, streamed.
    write (Callable): (rows, path, context) → None; consumes the rows as it writes.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, Context], Iterator[LinkedText]]
    write: Callable[[Iterable[LinkedText], Path, Context], None]


def _read_spans_jsonl(path: Path, _context: Context) -> Iterator[LinkedText]:
    return read_spans_jsonl(path)


def _write_spans_jsonl(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    write_spans_jsonl(_counted(rows, context.stats), path)


def _read_spacy(path: Path, context: Context) -> Iterator[LinkedText]:
    return map(text_from_doc, read_docbin(path, context.nlp.vocab))


def _write_spacy(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    write_docbin(docs_from_texts(context.nlp, rows, context.stats), path)


def _read_elq(path: Path, context: Context) -> Iterator[LinkedText]:
    return ElqReader(context.wordpieces, context.entities, context.stats).read(path)


def _write_elq(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    writer = ElqWriter(context.wordpieces, context.entities)
    writer.write(_counted(rows, context.stats), path)


def _write_elq_raw(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    write_raw(_counted(rows, context.stats), path)


def _read_elq_outs(path: Path, context: Context) -> Iterator[LinkedText]:
    return OutsReader(context.wordpieces, context.entities).read(path)


def _write_elq_outs(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    writer = OutsWriter(context.wordpieces, context.entities)
    writer.write(_counted(rows, context.stats), path)


def _read_elevant(path: Path, context: Context) -> Iterator[LinkedText]:
    return elevant.read_linked(path, context.stats)


def _write_elevant(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    elevant.write_linked(_counted(rows, context.stats), path)


def _read_benchmark(path: Path, context: Context) -> Iterator[LinkedText]:
    return elevant.read_benchmark(path, context.stats)


def _write_benchmark(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    elevant.write_benchmark(_counted(rows, context.stats), path)


def _read_nif(path: Path, context: Context) -> Iterator[LinkedText]:
    return read_nif(path, EntityUris(context.entity_uri), context.stats)


def _write_nif(rows: Iterable[LinkedText], path: Path, context: Context) -> None:
    write_nif(_counted(rows, context.stats), path, EntityUris(context.entity_uri))


def _counted(rows: Iterable[LinkedText], stats: ConversionStats) -> Iterator[LinkedText]:
    for row in rows:
        stats.texts += 1
        stats.spans += len(row.spans)
        yield row


FORMATS: dict[str, Format] = {
    "spans-jsonl": Format((".jsonl", ".jsonl.gz"), _read_spans_jsonl, _write_spans_jsonl),
    "spacy": Format((".spacy",), _read_spacy, _write_spacy),
    "elq": Format((), _read_elq, _write_elq),
    "elq-raw": Format((), _read_elq, _write_elq_raw),
    "elq-outs": Format((), _read_elq_outs, _write_elq_outs),
    "elevant": Format(
        (".linked_articles.jsonl", "linked_articles.jsonl", "linked_articles.jsonl.gz"),
        _read_elevant,
        _write_elevant,
    ),
    "elevant-benchmark": Format(
        (".benchmark.jsonl", ".benchmark.jsonl.gz"), _read_benchmark, _write_benchmark
    ),
    "nif": Format((".ttl", ".nif", ".nt"), _read_nif, _write_nif),
}


def find_format(path: Path, name: str = "") -> Format:
    """The format of a file.

    path (Path): The file, whose suffix, the longest that is known, decides where no name is given.
    name (str): A key of `FORMATS`, or empty.
    RETURNS (Format): The format.
    RAISES (ElqError): If the name or the suffix is unknown.
    """
    if name:
        if name not in FORMATS:
            raise ElqError(Errors.ELQ311.format(name=name, known=", ".join(FORMATS)))
        return FORMATS[name]
    fitting = [
        (len(suffix), format_)
        for format_ in FORMATS.values()
        for suffix in format_.suffixes
        if path.name.endswith(suffix)
    ]
    if not fitting:
        raise ElqError(Errors.ELQ312.format(path=path, known=", ".join(FORMATS)))
    return max(fitting, key=lambda pair: pair[0])[1]


def convert(
    source: Path,
    target: Path,
    nlp: Language,
    *,
    read_as: str = "",
    write_as: str = "",
    entities: Path | None = None,
    tokenizer: str = MINILM,
    entity_uri: str = WIKIDATA,
    progress: Callable[[Iterator[LinkedText]], Iterable[LinkedText]] = iter,
) -> ConversionStats:
    """Convert one file.

    source, target (Path): The files; the target is replaced as a whole.
    nlp (Language): Whose tokenizer and vocabulary are used where a format needs them.
    read_as, write_as (str): Formats; by suffix where empty.
    entities (Path | None): ELQ's entity.jsonl, or the knowledge base made of it, for its formats.
    tokenizer (str): Of the model whose wordpieces ELQ's files count.
    entity_uri (str): What precedes an entity's id in NIF.
    progress (Callable): Wraps the stream of rows, for example in a progress bar.
    RETURNS (ConversionStats): What was converted, and what had to be changed.
    """
    reader, writer = find_format(source, read_as), find_format(target, write_as)
    context = Context(nlp, entities, tokenizer, entity_uri)
    writer.write(progress(reader.read(source, context)), target, context)
    return context.stats


def read_any(
    path: Path, nlp: Language, *, read_as: str = "", entity_uri: str = WIKIDATA
) -> Iterator[LinkedText]:
    """Stream the rows of a file, and warn at its end about what had to be left out.

    path (Path): The file.
    nlp (Language): Whose vocabulary is used where the format needs one.
    read_as (str): Its format; by suffix where empty.
    entity_uri (str): What precedes an entity's id in NIF.
    YIELDS (LinkedText): The rows.
    """
    context = Context(nlp, entity_uri=entity_uri)
    yield from find_format(path, read_as).read(path, context)
    context.stats.warn()


def write_any(
    rows: Iterable[LinkedText],
    path: Path,
    nlp: Language,
    write_as: str,
    *,
    entity_uri: str = WIKIDATA,
) -> None:
    """Write rows, replacing the file as a whole.

    write_as (str): A key of `FORMATS`.
    """
    find_format(path, write_as).write(rows, path, Context(nlp, entity_uri=entity_uri))


def suffix_of(write_as: str) -> str:
    """RETURNS (str): What the name of a new file of a format ends in.
    RAISES (ElqError): If there is no such format."""
    return (*find_format(Path(), write_as).suffixes, ".jsonl")[0]
