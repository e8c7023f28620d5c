"""`elq wikipedia`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ElqError, Errors
from ._common import QuietOption, count_bytes, echo_note, handle_errors

EXAMPLE = "Example: python -m spacy elq wikipedia enwiki-latest-pages-articles.xml.bz2 wikipedia"
GO_ON = "What was read is kept; run the same command again to go on."


@handle_errors(GO_ON)
def wikipedia_command(
    dump: Annotated[
        Path, typer.Argument(metavar="DUMP", help="XML dump: .bz2, .gz, .zst, .xz or plain")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write")],
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
    format: Annotated[str, typer.Option("--format", help="jsonl or parquet")] = "jsonl",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Processes that parse")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-O", help="Replace OUT")] = False,
    quiet: QuietOption = False,
) -> None:
    """Make entities and training texts of an XML dump of a Wikipedia in any language. `kb build
    OUT/entities` and training read them. Resumes an interrupted run."""
    from ..dumps.parts import FORMATS
    from ..dumps.wikipedia import WikipediaOptions, convert_wikipedia
    from ._table import format_table

    if format not in FORMATS:
        raise ElqError(Errors.ELQ110.format(name="format", value=format, of=", ".join(FORMATS)))
    options = WikipediaOptions(language, propagate, keep_missing, format)
    size = dump.stat().st_size if dump.is_file() else 0
    with count_bytes(dump.name, quiet=quiet) as count:
        manifest = convert_wikipedia(
            dump,
            out,
            options,
            items=wikidata or (),
            index=index,
            workers=workers,
            overwrite=overwrite,
            on_progress=lambda position, pages: count(position, size, f"{pages} pages"),
        )
    for problem in manifest.problems:
        typer.echo(f"{dump}: {problem}", err=True)
    rows = [(name, f"{number:,}") for name, number in manifest.counts.items()]
    echo_note(format_table(("", ""), rows, "lr").lstrip("\n"), quiet=quiet)
