"""`elq kb …`: inspect and change knowledge bases; `kb_build` makes them."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ElqError, Errors
from ._common import (
    MANY,
    ColumnsOption,
    GpuOption,
    QuietOption,
    argument_text,
    column_names,
    echo_note,
    handle_errors,
    use_gpu,
)
from ._kb import Encoder, Entities, From, KBPath, load_encoder, open_kb
from .kb_build import build_command

if TYPE_CHECKING:
    from ..encoders.entity import EntityEncoder
    from ..kb.files.manifest import Manifest
    from ..kb.knowledge_base import FaissKB
    from ..types import Entity

PREFIX = "Example: python -m spacy elq kb"
UNCHANGED = "The knowledge base was not changed."
# Entities encoded at once by `add`.
BATCH = 2048

app = typer.Typer(name="kb", help="Knowledge bases.", no_args_is_help=True)
app.command("build", epilog=f"{PREFIX} build entities.jsonl my_kb")(build_command)


@app.command("info", epilog=f"{PREFIX} info my_kb")
@handle_errors()
def info_command(path: KBPath, quiet: QuietOption = False) -> None:
    """Show what a knowledge base contains and how it was built."""
    kb = open_kb(path)
    manifest = kb.manifest
    size = sum(info["size"] for info in manifest.files.values())
    rows = {
        "entities": len(kb),
        "built": f"{manifest.entities} entities, {manifest.created or 'never'}",
        "added, changed": len(kb) - manifest.entities + kb.view.n_removed,
        "removed, changed": kb.view.n_removed,
        "vectors": f"{manifest.vectors} x {manifest.width}, {manifest.dtype}",
        "index": manifest.index,
        **_index_facts(manifest),
        "popularity": _popularity(kb, manifest),
        "encoder": manifest.fingerprint or "unknown",
        "inference": manifest.inference or "unknown",
        "source": " ".join(filter(None, (manifest.source, manifest.snapshot))) or "unknown",
        "size": f"{size / 1e6:.1f} MB",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(f"{name.ljust(width)}  {value}")
    echo_note(f"Files: {', '.join(manifest.files)}", quiet=quiet)


@app.command("check", epilog=f"{PREFIX} check my_kb")
@handle_errors()
def check_command(path: KBPath, quiet: QuietOption = False) -> None:
    """Check the files of a knowledge base, and measure the recall of its index."""
    from ..kb.check import check_files, index_recall
    from ..kb.files.manifest import Manifest

    echo_note("Reading every file …", quiet=quiet)
    Manifest.read(path).verify(path)  # before it is opened: FAISS may crash on a damaged index
    kb = open_kb(path)
    kb.tidy()
    check_files(kb)
    _check_encoder(kb, path.absolute().parent / "entity_encoder")
    typer.echo("files   as they were built")
    typer.echo(f"recall  {index_recall(kb):.3f} of the exact 10 nearest entities, of a sample")


@app.command("search", epilog=f'{PREFIX} search my_kb "city of light" -k 5')
@handle_errors()
def search_command(
    path: KBPath,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A name, or a description")],
    k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, max=MANY, help="Neighbours to show")
    ] = 10,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only entities of this type; repeat")
    ] = None,
    encoder: Encoder = "minilm",
    quiet: QuietOption = False,
) -> None:
    """Find entities: first those with this name, then the nearest by vector."""
    from ..types import Entity

    text = argument_text(text)
    if not text.strip():
        raise ElqError(Errors.ELQ273)
    kb = open_kb(path)
    kb.restrict(types=[argument_text(each) for each in types or ()] or None)
    vectors, _ = _matching_encoder(kb, encoder).encode([Entity("", text)])
    rows, scores = (part[0] for part in kb.search(vectors[:1], min(k, len(kb))))
    named = kb.named(text)
    for entity in named:
        typer.echo(_line("name", entity))
    if not named:
        echo_note("No entity has this name.", quiet=quiet)
    for entity, score in zip(kb.records(rows[rows >= 0]), scores[rows >= 0].tolist(), strict=True):
        typer.echo(_line(f"{score:.3f}", entity))


@app.command("add", epilog=f"{PREFIX} add my_kb more.jsonl")
@handle_errors("The entities added so far are kept; run the same command again to add the rest.")
def add_command(
    path: KBPath,
    entities: Entities,
    encoder: Encoder = "minilm",
    from_: From = "",
    columns: ColumnsOption = "",
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Add entities; those with a known id replace the old ones. Pipelines that have the knowledge
    base open see them at their next call."""
    from tqdm import tqdm

    from ..entities.reader import read_entities
    from ..kb.search.file_vectors import check_unique_ids

    use_gpu(gpu_id)
    kb = _open_to_write(path)
    model = _matching_encoder(kb, encoder)
    before, read = len(kb), 0
    unique = check_unique_ids(read_entities(entities, from_, column_names(columns)))
    stream = iter(tqdm(unique, "Adding", unit=" entities", disable=quiet, leave=False))
    try:
        while batch := list(islice(stream, BATCH)):
            kb.add(batch, *model.encode(batch))
            read += len(batch)
    except ElqError as err:
        raise ElqError(Errors.ELQ258.format(problem=err, kept=read)) if read else err from None
    added = len(kb) - before
    echo_note(f"{path}: {added} added, {read - added} replaced, {len(kb)} now", quiet=quiet)


@app.command("remove", epilog=f"{PREFIX} remove my_kb Q90 Q64")
@handle_errors(UNCHANGED)
def remove_command(
    path: KBPath,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of the entities")],
    quiet: QuietOption = False,
) -> None:
    """Remove entities; nothing is removed if one of the ids is unknown."""
    kb = _open_to_write(path)
    removed = kb.remove([argument_text(each) for each in ids])
    echo_note(f"{path}: {removed} removed, {len(kb)} left", quiet=quiet)


@app.command("compact", epilog=f"{PREFIX} compact my_kb")
@handle_errors(UNCHANGED)
def compact_command(path: KBPath, quiet: QuietOption = False) -> None:
    """Fold additions and removals into new files, so that searches are as fast as after a build.
    Pipelines that have the knowledge base open switch to the new files at their next call."""
    kb = _open_to_write(path)
    done = kb.compact(progress=not quiet)
    state = "compacted" if done else "nothing to compact"
    echo_note(f"{path}: {state}, {len(kb)} entities", quiet=quiet)


@app.command("export", epilog=f"{PREFIX} export my_kb entities.jsonl")
@handle_errors("The output file was not changed.")
def export_command(
    path: KBPath,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="JSONL file to write, may end in .gz; - for stdout"),
    ],
    quiet: QuietOption = False,
) -> None:
    """Write all entities as JSONL, live additions included."""
    from ..entities.reader import is_jsonl
    from ..entities.records import entity_to_dict
    from ..files import write_jsonl

    if str(out) != "-" and not is_jsonl(out):
        raise ElqError(Errors.ELQ449.format(path=out))
    kb = open_kb(path)
    records = map(entity_to_dict, kb)
    if str(out) == "-":
        for record in records:
            typer.echo(json.dumps(record, ensure_ascii=False))
        return
    write_jsonl(out, records)
    echo_note(f"{out}: {len(kb)} entities", quiet=quiet)


def _popularity(kb: FaissKB, manifest: Manifest) -> str:
    import numpy as np

    known = np.isfinite(kb.popularity(kb.view.live_rows())).sum()
    field = f', from "{manifest.popularity_field}"' if manifest.popularity_field else ""
    return f"known of {known} entities{field}" if known else "unknown"


def _index_facts(manifest: Manifest) -> dict[str, str]:
    from ..kb.files.manifest import INDEX
    from ..kb.search.faiss_index import SearchSettings
    from ..kb.search.vector_store import find_backend

    if not manifest.search:
        return {}
    if find_backend(manifest.index) is not None:
        return {name: str(value) for name, value in manifest.search.items()}
    settings = SearchSettings.from_manifest(manifest.search, 0)
    return {
        "index size": f"{manifest.files[INDEX]['size'] / 1e6:.1f} MB",
        "search": f"effort {settings.effort}, the best {settings.rerank} scored exactly",
        "recall": f"{settings.recall:.4f} of the exact 10 best when built",
        "tried with": f"{settings.sample} queries: {settings.queries}",
        "a search": f"{settings.ms:.1f} ms when built, exact search {settings.exact_ms:.0f} ms",
    }


def _open_to_write(path: Path) -> FaissKB:
    kb = open_kb(path)
    if not kb.is_writable:
        raise ElqError(Errors.ELQ249.format(path=path))
    return kb


def _matching_encoder(kb: FaissKB, name: str) -> EntityEncoder:
    from ..kb.loaders import check_fingerprint

    encoder = load_encoder(name)
    check_fingerprint(kb, encoder)
    return encoder


def _check_encoder(kb: FaissKB, directory: Path) -> None:
    """Check the entity encoder that a pipeline keeps beside its knowledge base, if it does."""
    from ..kb.loaders import check_fingerprint

    if directory.is_dir():
        check_fingerprint(kb, load_encoder(str(directory)))


def _line(how: str, entity: Entity) -> str:
    return "\t".join((how, entity.id, entity.title, entity.description))
