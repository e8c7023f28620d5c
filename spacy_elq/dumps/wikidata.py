"""A JSON dump of Wikidata → parts of entities.

The dump is read once, into a store on disk. Only then are all classes known: their labels become
types, and the entities that are asked for are written in parts. Both steps resume.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import ElqError, Errors
from ..files import remove
from ..kb.files.locks import exclusive_lock
from .article_names import ArticleNames
from .compressed import DumpFile
from .entity_parts import write_entities
from .item_reading import OnProgress, read_items
from .item_store import ItemStore, Progress
from .items import ItemReader, wikis_of
from .parts import ENTITIES, JSONL, MANIFEST, DumpManifest, date_in, names_in

UNFINISHED, LOCK = "unfinished.sqlite", ".lock"
ARTICLES = "-articles"
# Ends of the names of files beside it.
BESIDE = re.compile(f"{ARTICLES}$|-journal$|-wal$|-shm$")
KIND, LICENCE = "wikidata", "CC0-1.0"


@dataclass(frozen=True)
class WikidataOptions:
    """What determines the output.

    languages (list): Languages of names and descriptions, the preferred one first.
    types (list): Ids or labels of classes: their instances are kept, and those of their
        subclasses. All if empty.
    min_sitelinks (int): Least number of pages about an entity in Wikimedia's projects.
    format (str): Of the parts.
    wikipedia (str): An output of `elq wikipedia` in one of the languages, whose articles give names
        with counts; "" for none.
    """

    languages: list[str] = field(default_factory=lambda: ["en"])
    types: list[str] = field(default_factory=list)
    min_sitelinks: int = 0
    format: str = JSONL
    wikipedia: str = ""


def convert_wikidata(
    dump: Path,
    out: Path,
    options: WikidataOptions,
    *,
    workers: int = 1,
    overwrite: bool = False,
    on_progress: OnProgress = lambda position, lines: None,
) -> DumpManifest:
    """Write the entities of a dump. A run that was interrupted goes on.

    dump (Path): JSON: an array with an entity on each line, or JSON lines; see `DumpFile`.
    out (Path): Directory of the parts.
    workers (int): Number of processes that parse.
    overwrite (bool): Replace an output, finished or not.
    RETURNS (DumpManifest): Describes what was written.
    RAISES (ElqError): If there is another output, or the dump has no entity that is asked for.
    """
    with DumpFile(dump) as file:
        out.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(out / LOCK, busy=Errors.ELQ366.format(path=out)):
            _make_room(out, overwrite)
            with ItemStore(out / UNFINISHED) as store:
                manifest = _convert(file, store, out, options, workers, on_progress)
            manifest.write(out)
            _remove_store(out)
    return manifest


def _convert(
    file: DumpFile,
    store: ItemStore,
    out: Path,
    options: WikidataOptions,
    workers: int,
    on_progress: OnProgress,
) -> DumpManifest:
    progress, languages = store.progress, options.languages
    _begin(progress, file, out, options)
    with _articles(out, options) as articles:
        if not progress.is_read:
            reader = ItemReader(tuple(languages), options.min_sitelinks)
            read_items(file, store, reader, workers, on_progress)
        write_entities(store, out / ENTITIES, options.types, languages, options.format, articles)
    manifest = _manifest(file.path, progress, options)
    if not progress.entities:
        raise ElqError(Errors.ELQ364.format(path=file.path, found=_summary(manifest)))
    return manifest


def _articles(out: Path, options: WikidataOptions) -> AbstractContextManager[ArticleNames | None]:
    if not options.wikipedia:
        return nullcontext()
    source = Path(options.wikipedia)
    articles = ArticleNames(source, out / f"{UNFINISHED}{ARTICLES}")
    if articles.wiki not in wikis_of(options.languages):
        articles.close()
        raise ElqError(Errors.ELQ339.format(path=source, wiki=articles.wiki))
    return articles


def _make_room(out: Path, overwrite: bool) -> None:
    """Raise an ElqError for what this run may neither continue nor replace."""
    names = {BESIDE.sub("", name) for name in names_in(out)}
    if names - {MANIFEST, ENTITIES, UNFINISHED, LOCK}:
        raise ElqError(Errors.ELQ369.format(path=out))
    if overwrite:
        (out / MANIFEST).unlink(missing_ok=True)
        _remove_store(out)
        remove(out / ENTITIES)
    elif MANIFEST in names or names == {ENTITIES, LOCK}:
        raise ElqError(Errors.ELQ368.format(path=out))


def _remove_store(out: Path) -> None:
    for path in out.glob(f"{UNFINISHED}*"):
        path.unlink()


def _begin(progress: Progress, file: DumpFile, out: Path, options: WikidataOptions) -> None:
    """Start, or go on with the same dump and settings. The types and the format of the output may
    change once the dump is read."""
    reading = {
        "dump": file.path.name,
        "bytes": file.size,
        "language": options.languages,
        "min_sitelinks": options.min_sitelinks,
    }
    writing: dict[str, object] = {
        "types": options.types,
        "format": options.format,
        "wikipedia": options.wikipedia,
    }
    if progress.reading not in ({}, reading):
        raise ElqError(Errors.ELQ359.format(path=out, before=progress.reading, now=reading))
    if progress.writing != writing:
        progress.start_writing(writing)
        remove(out / ENTITIES)
    progress.reading = reading


def _manifest(dump: Path, progress: Progress, options: WikidataOptions) -> DumpManifest:
    return DumpManifest(
        kind=KIND,
        snapshot=date_in(dump.name) or progress.snapshot,
        languages=options.languages,
        licence=LICENCE,
        counts={
            "entities": progress.entities,
            **({"with an article": progress.joined} if options.wikipedia else {}),
            **progress.not_stored,
            **progress.not_written,
        },
        options={"dump": dump.name, **asdict(options)},
        problems=progress.problems,
    )


def _summary(manifest: DumpManifest) -> str:
    parts = [f"{number} {name}" for name, number in manifest.counts.items() if number]
    return "; ".join((*parts, *manifest.problems)) or "it is empty"
