"""`elq wikidata`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ElqError, Errors
from ._common import MANY, QuietOption, argument_text, count_bytes, echo_note, handle_errors

EXAMPLE = "Example: python -m spacy elq wikidata latest-all.json.gz wikidata --min-sitelinks 3"
GO_ON = "What was read is kept, except the last seconds; run the same command again to go on."


@handle_errors(GO_ON)
def wikidata_command(
    dump: Annotated[
        Path, typer.Argument(metavar="DUMP", help="JSON dump: .bz2, .gz, .zst, .xz or plain")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory to write")],
    languages: Annotated[
        list[str] | None,
        typer.Option(
            "--language",
            help="Language of names and descriptions, such as en; repeat it, the preferred one "
            "first",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--types",
            help="Only instances of this class (Q5, or its label) and of its subclasses; repeat",
        ),
    ] = None,
    min_sitelinks: Annotated[
        int,
        typer.Option(
            "--min-sitelinks",
            min=0,
            max=MANY,
            help="Only entities with so many pages in Wikimedia's projects",
        ),
    ] = 0,
    wikipedia: Annotated[
        Path | None,
        typer.Option(
            "--wikipedia",
            metavar="DIR",
            help="Output of elq wikipedia, whose articles give more names, with counts",
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="jsonl or parquet")] = "jsonl",
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=1024, help="Processes that parse")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", "-O", help="Replace OUT")] = False,
    quiet: QuietOption = False,
) -> None:
    """Make entities of a JSON dump of Wikidata: names, descriptions, types, coordinates and dates.
    `kb build OUT/entities` takes them. Resumes an interrupted run."""
    from ..dumps.parts import FORMATS
    from ..dumps.wikidata import WikidataOptions, convert_wikidata
    from ._table import format_table

    if format not in FORMATS:
        raise ElqError(Errors.ELQ110.format(name="format", value=format, of=", ".join(FORMATS)))
    options = WikidataOptions(
        languages=[argument_text(each) for each in languages or ["en"]],
        types=[argument_text(each) for each in types or ()],
        min_sitelinks=min_sitelinks,
        format=format,
        wikipedia=str(wikipedia or ""),
    )
    size = dump.stat().st_size if dump.is_file() else 0
    with count_bytes(dump.name, quiet=quiet) as count:
        manifest = convert_wikidata(
            dump,
            out,
            options,
            workers=workers,
            overwrite=overwrite,
            on_progress=lambda position, lines: count(position, size, f"{lines} lines"),
        )
    for problem in manifest.problems:
        typer.echo(f"{dump}: {problem}", err=True)
    rows = [(name, f"{number:,}") for name, number in manifest.counts.items()]
    echo_note(format_table(("", ""), rows, "lr").lstrip("\n"), quiet=quiet)
