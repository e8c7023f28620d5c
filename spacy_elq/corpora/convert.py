"""Conversion between file formats of linked texts: a table of formats, each a reader and a writer.

To add a format, add an entry to `FORMATS`.
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
from .brat import read_brat, write_brat
from .conll import read_conll, write_conll
from .docbin import read_docbin, write_docbin
from .doccano import read_doccano, write_doccano
from .elq_format import ElqReader, ElqWriter, write_raw
from .elq_outs import OutsReader, OutsWriter
from .entity_lines import EntityLines
from .label_studio import read_label_studio, write_label_studio
from .nif import WIKIDATA, EntityUris, read_nif, write_nif
from .prodigy import read_prodigy, write_choices, write_prodigy
from .spans_jsonl import (
    ConversionStats,
    LinkedText,
    docs_from_texts,
    read_spans_jsonl,
    text_from_doc,
    write_spans_jsonl,
)
from .web_annotation import read_web_annotations, write_web_annotations
from .wordpieces import Wordpieces


@dataclass
class Context:
    """What some formats need beside the file.

    nlp (Language): Provides the tokenizer and the vocabulary for formats of tokens.
    catalogue (Path | None): The entities, for formats that name entities by line number.
    tokenizer (str): The tokenizer of a file in wordpieces: "minilm", a directory or a hub id.
    entity_uri (str): Prefix of entity ids, for formats that name entities by URI.
    stats (ConversionStats): Counts what is converted, changed and left out.
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

    @property
    def uris(self) -> EntityUris:
        return EntityUris(self.entity_uri)


@dataclass(frozen=True)
class Format:
    """One file format.

    suffixes (tuple[str, ...]): Files with these suffixes have this format by default; new files
        get the first.
    read (Callable): (path, context) → the texts of the file, streamed.
    write (Callable): (texts, path, context) → None; consumes the texts while it writes.
    """

    suffixes: tuple[str, ...]
    read: Callable[[Path, Context], Iterator[LinkedText]]
    write: Callable[[Iterable[LinkedText], Path, Context], None]


def _read_elq(path: Path, context: Context) -> Iterator[LinkedText]:
    return ElqReader(context.wordpieces, context.entities, context.stats).read(path)


def _write_spacy(texts: Iterable[LinkedText], path: Path, context: Context) -> None:
    changes = ConversionStats()
    write_docbin(docs_from_texts(context.nlp, texts, changes), path)
    _count_changes(context, changes)


def _write_conll(texts: Iterable[LinkedText], path: Path, context: Context) -> None:
    changes = ConversionStats()
    write_conll(texts, path, context.nlp, changes)
    _count_changes(context, changes)


def _count_changes(context: Context, changes: ConversionStats) -> None:
    """Count what writing changed; texts and spans were counted when they were read."""
    context.stats.misaligned += changes.misaligned
    context.stats.blank += changes.blank
    context.stats.overlapping += changes.overlapping


FORMATS: dict[str, Format] = {
    "spans-jsonl": Format(
        (".jsonl", ".jsonl.gz"),
        lambda path, _: read_spans_jsonl(path),
        lambda texts, path, _: write_spans_jsonl(texts, path),
    ),
    "spacy": Format(
        (".spacy",),
        lambda path, context: map(text_from_doc, read_docbin(path, context.nlp.vocab)),
        _write_spacy,
    ),
    "elq": Format(
        (),
        _read_elq,
        lambda texts, path, c: ElqWriter(c.wordpieces, c.entities).write(texts, path),
    ),
    "elq-raw": Format((), _read_elq, lambda texts, path, _: write_raw(texts, path)),
    "elq-outs": Format(
        (),
        lambda path, c: OutsReader(c.wordpieces, c.entities).read(path),
        lambda texts, path, c: OutsWriter(c.wordpieces, c.entities).write(texts, path),
    ),
    "elevant": Format(
        (".linked_articles.jsonl", "linked_articles.jsonl", "linked_articles.jsonl.gz"),
        lambda path, context: elevant.read_linked(path, context.stats),
        lambda texts, path, _: elevant.write_linked(texts, path),
    ),
    "elevant-benchmark": Format(
        (".benchmark.jsonl", ".benchmark.jsonl.gz"),
        lambda path, context: elevant.read_benchmark(path, context.stats),
        lambda texts, path, _: elevant.write_benchmark(texts, path),
    ),
    "nif": Format(
        (".ttl", ".nif", ".nt"),
        lambda path, context: read_nif(path, context.uris, context.stats),
        lambda texts, path, context: write_nif(texts, path, context.uris),
    ),
    "label-studio": Format(
        (".label-studio.json",),
        lambda path, context: read_label_studio(path, context.stats),
        lambda texts, path, _: write_label_studio(texts, path),
    ),
    "prodigy": Format(
        (".prodigy.jsonl",),
        lambda path, context: read_prodigy(path, context.stats),
        lambda texts, path, _: write_prodigy(texts, path),
    ),
    "prodigy-choice": Format(
        (".prodigy-choice.jsonl",),
        lambda path, context: read_prodigy(path, context.stats),
        lambda texts, path, _: write_choices(texts, path),
    ),
    "doccano": Format(
        (".doccano.jsonl",),
        lambda path, _: read_doccano(path),
        lambda texts, path, _: write_doccano(texts, path),
    ),
    "brat": Format(
        (".brat", ".ann"),
        lambda path, context: read_brat(path, context.stats),
        lambda texts, path, _: write_brat(texts, path),
    ),
    "conll": Format((".conll",), lambda path, _: read_conll(path), _write_conll),
    "web-annotation": Format(
        (".jsonld",),
        lambda path, context: read_web_annotations(path, context.uris, context.stats),
        lambda texts, path, context: write_web_annotations(texts, path, context.uris),
    ),
}


def find_format(path: Path, name: str = "") -> Format:
    """The format of a file.

    path (Path): The file. Without a name, its longest known suffix decides.
    name (str): A key of `FORMATS`, or empty.
    RAISES (ElqError): If the name or the suffix is unknown.
    """
    known = ", ".join(FORMATS)
    if name:
        if name not in FORMATS:
            raise ElqError(Errors.ELQ311.format(name=name, known=known))
        return FORMATS[name]
    suffixes = {suffix: each for each in FORMATS.values() for suffix in each.suffixes}
    matching = [suffix for suffix in suffixes if path.name.endswith(suffix)]
    if not matching:
        raise ElqError(Errors.ELQ312.format(path=path, known=known))
    return suffixes[max(matching, key=len)]


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
    nlp (Language): Provides the tokenizer and the vocabulary, if a format needs them.
    read_as, write_as (str): The formats; if empty, the suffixes decide.
    entities (Path | None): ELQ's entity.jsonl, or the knowledge base built from it, for ELQ's
        formats.
    tokenizer (str): The tokenizer of ELQ's files.
    entity_uri (str): Prefix of entity ids in NIF.
    progress (Callable): Wraps the stream of texts, for example in a progress bar.
    RETURNS (ConversionStats): Counts of what was converted, changed and left out.
    """
    reader, writer = find_format(source, read_as), find_format(target, write_as)
    context = Context(nlp, entities, tokenizer, entity_uri)
    texts = _counted(progress(reader.read(source, context)), context.stats)
    writer.write(texts, target, context)
    return context.stats


def _counted(texts: Iterable[LinkedText], stats: ConversionStats) -> Iterator[LinkedText]:
    for linked in texts:
        stats.texts += 1
        stats.spans += len(linked.spans)
        yield linked


def read_any(
    path: Path, nlp: Language, *, read_as: str = "", entity_uri: str = WIKIDATA
) -> Iterator[LinkedText]:
    """Stream the texts of a file, and warn at its end about mentions that were left out.

    nlp (Language): Provides the vocabulary, if the format needs one.
    read_as (str): The format; if empty, the suffix decides.
    entity_uri (str): Prefix of entity ids in NIF.
    """
    context = Context(nlp, entity_uri=entity_uri)
    yield from find_format(path, read_as).read(path, context)
    context.stats.warn()


def write_any(
    texts: Iterable[LinkedText],
    path: Path,
    nlp: Language,
    write_as: str,
    *,
    entity_uri: str = WIKIDATA,
) -> None:
    """Write texts, replacing the file as a whole.

    write_as (str): A key of `FORMATS`.
    """
    find_format(path, write_as).write(texts, path, Context(nlp, entity_uri=entity_uri))


def suffix_of(write_as: str) -> str:
    """RETURNS (str): The suffix of new files of a format.
    RAISES (ElqError): If there is no such format."""
    return (*find_format(Path(), write_as).suffixes, ".jsonl")[0]
