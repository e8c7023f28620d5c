"""`elq wikipedia`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import QuietOption, echo_note, handle_errors
from ._dumps import (
    DumpArgument,
    FormatOption,
    OutArgument,
    OverwriteOption,
    WorkersOption,
    check_format,
    count_dump,
    print_manifest,
)

EXAMPLE = "Example: python -m spacy elq wikipedia enwiki-latest-pages-articles.xml.bz2 wikipedia"
GO_ON = "What was read is kept; run the same command again to go on."
IS_EXTRACT = (
    "Most links lead to pages that the dump lacks. If it is an extract of a wiki, run the command "
    "again with --overwrite --keep-missing: they become gold mentions too."
)


@handle_errors(GO_ON)
def wikipedia_command(
    dump: DumpArgument,
    out: OutArgument,
    wikidata: Annotated[
        list[Path] | None,
        typer.Option(
            "--wikidata",
            help="Ids of Wikidata: page_props.sql.gz, page.sql.gz, redirect.sql.gz, lines of title "
            "and id, a JSON dump, the output of `elq wikidata`; repeat it",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", help="Language code; default: what the dump says")
    ] = "",
    propagate: Annotated[
        bool,
        typer.Option(
            "--propagate",
            help="All occurrences of names that a page links, and of its title, become mentions",
        ),
    ] = False,
    keep_missing: Annotated[
        bool,
        typer.Option(
            "--keep-missing",
            help="Links to pages that the dump lacks are gold too: for an extract of a wiki",
        ),
    ] = False,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="Of a multistream dump; default: the file beside it"),
    ] = None,
    format: FormatOption = "jsonl",
    workers: WorkersOption = 1,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make entities and training texts of an XML dump of a Wikipedia in any language. `kb build
    OUT/entities` and training read them. Resumes an interrupted run."""
    from ..dumps.article_texts import mostly_missing
    from ..dumps.wikipedia import WikipediaOptions, convert_wikipedia

    check_format(format)
    options = WikipediaOptions(language, propagate, keep_missing, format)
    with count_dump(dump, "pages", quiet=quiet) as on_progress:
        manifest = convert_wikipedia(
            dump,
            out,
            options,
            items=wikidata or (),
            index=index,
            workers=workers,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    print_manifest(dump, manifest, quiet=quiet)
    if mostly_missing(manifest.counts):
        echo_note(IS_EXTRACT, quiet=quiet)
