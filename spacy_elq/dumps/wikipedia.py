"""An XML dump of a Wikipedia → parts of entities and of training texts.

The dump is read once, into shards. Only then are all pages known: where links lead, and how often
each name leads to an article. Then the texts and the entities of each shard are written as parts.
Every step resumes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import remove, write_json
from ..kb.files.locks import exclusive_lock
from .article_entities import entities, entity_columns
from .article_texts import DROPPED, KEPT_MISSING, LINKS, TextMaker, text_columns
from .compressed import DumpFile
from .items import wiki_of
from .link_store import LinkStore
from .name_use import NameUse
from .page_blocks import PageBlock, index_beside, indexed_blocks, page_blocks
from .page_items import read_page_items
from .parts import (
    ENTITIES,
    JSONL,
    MANIFEST,
    TEXTS,
    DumpManifest,
    date_in,
    names_in,
    part_path,
    write_part,
)
from .processes import map_in_order
from .shards import Shards
from .site import Site
from .xml_pages import PageReader

UNFINISHED, LOCK, STATE = "unfinished", ".lock", "state.json"
STORE, NAMES = "links.sqlite", "names.npy"
KIND = "wikipedia"
# Wikipedia's licence, and the one until 7 June 2023.
LICENCE, OLD_LICENCE, NEW_SINCE = "CC-BY-SA-4.0", "CC-BY-SA-3.0", "2023-06-07"
# What pages are counted as, by their kind.
PAGES = "pages:"
# Malformed pages that the manifest names.
PROBLEMS = 20
# Position in the file, and pages that have been read.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class WikipediaOptions:
    """What determines the output.

    language (str): Of the wiki; "" for what the dump says.
    propagate (bool): Make mentions of all occurrences of names that a page links, and of its title.
    keep_missing (bool): Let links to pages that the dump lacks be gold mentions: in an extract.
    format (str): Of the parts.
    """

    language: str = ""
    propagate: bool = False
    keep_missing: bool = False
    format: str = JSONL


@dataclass
class State:
    """How far a run is; kept once the dump is read.

    run (dict): The dump and the options.
    site (Site): What the dump says about its wiki.
    shards (int): Number of shards, once all are there.
    problem (str): What was wrong at the end of the dump.
    """

    run: dict[str, Any]
    site: Site | None = None
    shards: int = 0
    problem: str = ""

    @classmethod
    def read(cls, path: Path) -> State | None:
        """RETURNS (State | None): That of a run that was interrupted."""
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf8"))
        site = values.pop("site")
        return cls(**values, site=Site(**site) if site else None)

    def write(self, path: Path) -> None:
        write_json(path, asdict(self))


def convert_wikipedia(
    dump: Path,
    out: Path,
    options: WikipediaOptions,
    *,
    items: Sequence[Path] = (),
    index: Path | None = None,
    workers: int = 1,
    overwrite: bool = False,
    on_progress: OnProgress = lambda position, pages: None,
) -> DumpManifest:
    """Write the entities and the texts of a dump. A run that was interrupted goes on.

    dump (Path): XML; see `DumpFile`.
    out (Path): Directory of the parts.
    items (Sequence[Path]): Files that say which items of Wikidata pages are about.
    index (Path | None): Of a multistream dump; by default, the one beside it.
    workers (int): Number of processes that parse.
    overwrite (bool): Replace an output, finished or not.
    RETURNS (DumpManifest): Describes what was written, now or before.
    RAISES (ElqError): If there is another output.
    """
    with DumpFile(dump) as file:
        out.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(out / LOCK, busy=Errors.ELQ366.format(path=out)):
            if not overwrite and (manifest := _finished(file, out, options, items)):
                remove(out / UNFINISHED)  # if the run ended while it did that
                return manifest
            _make_room(out, overwrite)
            index = index or index_beside(dump)
            work = _Conversion(file, out, options, items, index, workers, on_progress)
            manifest = work.run()
            manifest.write(out)
            remove(out / UNFINISHED)
    return manifest


def _run_of(file: DumpFile, options: WikipediaOptions, items: Sequence[Path]) -> dict[str, Any]:
    """RETURNS (dict): What determines the output."""
    run = {"dump": file.path.name, "bytes": file.size, **asdict(options)}
    return {**run, "items": [path.name for path in items]}


def _finished(
    file: DumpFile, out: Path, options: WikipediaOptions, items: Sequence[Path]
) -> DumpManifest | None:
    """RETURNS (DumpManifest | None): That of the same run, if it has finished before."""
    if not (out / MANIFEST).exists():
        return None
    manifest = DumpManifest.read(out)
    same = manifest.options == _run_of(file, options, items)
    return manifest if manifest.kind == KIND and same else None


def _make_room(out: Path, overwrite: bool) -> None:
    """Raise an ElqError for what this run may neither continue nor replace."""
    names = names_in(out)
    if names - {MANIFEST, ENTITIES, TEXTS, UNFINISHED, LOCK}:
        raise ElqError(Errors.ELQ369.format(path=out))
    if overwrite:
        for name in (MANIFEST, UNFINISHED, ENTITIES, TEXTS):
            remove(out / name)
    elif MANIFEST in names or (names - {LOCK} and UNFINISHED not in names):
        raise ElqError(Errors.ELQ368.format(path=out))


class _Conversion:
    """One run."""

    def __init__(
        self,
        file: DumpFile,
        out: Path,
        options: WikipediaOptions,
        items: Sequence[Path],
        index: Path | None,
        workers: int,
        on_progress: OnProgress,
    ) -> None:
        self.file, self.out, self.options = file, out, options
        self.items, self.index = items, index
        self.workers, self.on_progress = workers, on_progress
        self.work = out / UNFINISHED
        self.shards = Shards(self.work)

    def run(self) -> DumpManifest:
        state = self._begin()
        if not state.shards:
            self._read_dump(state)
        with LinkStore(self.work / STORE) as store:
            self._store_links(store, state)
            use = self._count_names(store, state)
            for number in range(state.shards):
                self._write_texts(store, number)
                self._write_entities(store, number, use)
            return self._manifest(store, state)

    def _begin(self) -> State:
        """RETURNS (State): That of this run, or of one with the same dump and options that was
        interrupted."""
        run = _run_of(self.file, self.options, self.items)
        state = State.read(self.work / STATE)
        if state is None:
            state = State(run)
            state.write(self.work / STATE)
        if state.run != run:
            raise ElqError(Errors.ELQ359.format(path=self.out, before=state.run, now=run))
        return state

    def _read_dump(self, state: State) -> None:
        reader = PageReader(self.file)
        blocks = indexed_blocks(reader, self.index) if self.index else page_blocks(reader)
        todo = (
            block.without_pages() if self.shards.has(block.number) else block for block in blocks
        )
        read = 0
        for block, _ in map_in_order(_WriteShard(self.shards), todo, self.workers):
            read += block.size
            self.on_progress(block.position, read)
            state.shards = block.number + 1
        state.site, state.problem = reader.site, reader.problem
        state.write(self.work / STATE)

    def _store_links(self, store: LinkStore, state: State) -> None:
        for number in range(state.shards):
            if not store.is_done(stage := f"pages {number}"):
                counts: Counter[str] = Counter()
                for row, facts in self.shards.facts(number):
                    store.add_page(row, facts)
                    counts.update(_counts_of(facts))
                store.finish(stage, counts)
        site = state.site or Site()
        language = self.options.language or site.language
        for path in self.items:
            if not store.is_done(stage := f"items {path}"):
                store.add_items(read_page_items(path, site.dbname or wiki_of(language), language))
                store.finish(stage)
        for stage, work in (("targets", store.resolve), ("names", store.count_names)):
            if not store.is_done(stage):
                work()
                store.finish(stage)

    def _write_texts(self, store: LinkStore, number: int) -> None:
        if store.is_done(stage := f"texts {number}"):
            return
        options = self.options
        missing = store.ids_of_missing if options.keep_missing else None
        maker = TextMaker(store.targets, propagate=options.propagate, missing=missing)
        texts = maker.texts_of(self.shards.articles(number))
        write_part(self._path(TEXTS, number), texts, text_columns)
        store.finish(stage, maker.counts)

    def _count_names(self, store: LinkStore, state: State) -> NameUse:
        """RETURNS (NameUse): How often names occur in all texts."""
        path = self.work / NAMES
        if store.is_done(stage := "occurrences"):
            return NameUse.load(path)
        use = NameUse.of(store.links_of_names())
        for number in range(state.shards):
            articles = self.shards.articles(number)
            use.count(text for article in articles for text, _ in article.paragraphs)
        use.save(path)
        store.finish(stage)
        return use

    def _write_entities(self, store: LinkStore, number: int, use: NameUse) -> None:
        if not store.is_done(stage := f"entities {number}"):
            counts: Counter[str] = Counter()
            found = _counted(entities(self.shards.facts(number), store, use), counts)
            write_part(self._path(ENTITIES, number), found, entity_columns)
            store.finish(stage, counts)

    def _path(self, what: str, number: int) -> Path:
        return part_path(self.out / what, number, self.options.format)

    def _manifest(self, store: LinkStore, state: State) -> DumpManifest:
        snapshot = date_in(self.file.path.name) or store.latest_change()
        language = self.options.language or (state.site.language if state.site else "")
        counts = dict(sorted(store.counts().items(), key=_group))
        problems = [*filter(None, [state.problem]), *store.problems(PROBLEMS)]
        if not counts.get(ENTITIES):
            problems.append(Errors.ELQ348.format(path=self.file.path, pages=counts["pages"]))
        return DumpManifest(
            kind=KIND,
            snapshot=snapshot,
            languages=[language],
            licence=LICENCE if snapshot >= NEW_SINCE else OLD_LICENCE,
            counts=counts,
            options=state.run,
            problems=problems,
        )


def _group(count: tuple[str, int]) -> tuple[int, int]:
    """RETURNS (tuple): The place of a count in the table: pages, entities, texts, links, each kind
    from many to few."""
    name, number = count
    groups = ("pages", PAGES, ENTITIES, TEXTS, LINKS, KEPT_MISSING, DROPPED)
    kind = next((kind for kind in (PAGES, DROPPED) if name.startswith(kind)), name)
    return groups.index(kind) if kind in groups else len(groups), -number


@dataclass(frozen=True)
class _WriteShard:
    shards: Shards

    def __call__(self, block: PageBlock) -> None:
        if block.pages is not None:
            self.shards.write(block.number, block.pages, block.site)


def _counts_of(facts: Mapping[str, Any]) -> dict[str, int]:
    not_linked = facts.get("not_linked", {})
    dropped = {f"{DROPPED} {reason}": count for reason, count in not_linked.items()}
    return {"pages": 1, f"{PAGES} {facts['kind']}": 1, **dropped}


def _counted(records: Iterable[dict[str, Any]], counts: Counter[str]) -> Iterator[dict[str, Any]]:
    for record in records:
        counts[ENTITIES] += 1
        yield record
