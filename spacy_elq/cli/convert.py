"""`elq convert`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..corpora.nif import WIKIDATA
from ._common import (
    EntityUriOption,
    QuietOption,
    echo_note,
    handle_errors,
    progress_bar,
    refuse_to_overwrite,
)

EXAMPLE = "Example: python -m spacy elq convert train.jsonl train.spacy"


@handle_errors("The output file was left as it was.")
def convert_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write")],
    read_as: Annotated[
        str, typer.Option("--from", "-f", help="Format of IN; default: by its name")
    ] = "",
    write_as: Annotated[
        str, typer.Option("--to", "-t", help="Format of OUT; default: by its name")
    ] = "",
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language, for the tokenizer")] = "en",
    entities: Annotated[
        Path | None,
        typer.Option(help="For the elq formats: ELQ's entity.jsonl, or the KB built from it"),
    ] = None,
    tokenizer: Annotated[
        str, typer.Option(help='For the elq formats: "minilm", a model directory or a hub id')
    ] = "minilm",
    entity_uri: EntityUriOption = WIKIDATA,
    quiet: QuietOption = False,
) -> None:
    """Convert linked texts between file formats: spans-jsonl (.jsonl, .jsonl.gz), spacy (.spacy),
    elevant (*linked_articles.jsonl), elevant-benchmark (*.benchmark.jsonl), nif (.ttl, .nif, .nt),
    elq (ELQ's tokenized/*.jsonl), elq-raw (its {"id", "text"} input) and elq-outs (its output); of
    annotation tools: label-studio (*.label-studio.json), prodigy (*.prodigy.jsonl: a task a text),
    prodigy-choice (*.prodigy-choice.jsonl: a task a mention), doccano (*.doccano.jsonl), brat
    (a directory, .ann), conll (.conll: AIDA's columns), web-annotation (.jsonld)."""
    from ..corpora.convert import convert
    from ..pipeline.directories import blank

    refuse_to_overwrite(target, [source, entities])
    nlp = blank(lang)
    stats = convert(
        source,
        target,
        nlp,
        read_as=read_as,
        write_as=write_as,
        entities=entities,
        tokenizer=tokenizer,
        entity_uri=entity_uri,
        progress=progress_bar(source.name, quiet=quiet),
    )
    echo_note(f"{target}: {stats.texts} texts, {stats.spans - stats.blank} spans", quiet=quiet)
    changes = {
        "spans widened to whole tokens": stats.misaligned,
        "spans of white space only, left out": stats.blank,
        "mentions without an entity, left out": stats.unlinked,
        "mentions that differ from the text at their offsets": stats.displaced,
        "mentions that overlap longer ones, left out": stats.overlapping,
        "texts that were rejected or that nobody annotated, left out": stats.rejected,
    }
    for what, count in changes.items():
        if count:
            echo_note(f"  {what}: {count}", quiet=quiet)
