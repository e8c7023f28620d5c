"""`elq wikidata`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import MANY, QuietOption, argument_text, handle_errors
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

EXAMPLE = "Example: python -m spacy elq wikidata latest-all.json.gz wikidata --min-sitelinks 3"
GO_ON = "What was read is kept, except the last seconds; run the same command again to go on."


@handle_errors(GO_ON)
def wikidata_command(
    dump: DumpArgument,
    out: OutArgument,
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
    format: FormatOption = "jsonl",
    workers: WorkersOption = 1,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make entities of a JSON dump of Wikidata: names, descriptions, types, coordinates and dates.
    `kb build OUT/entities` takes them. Resumes an interrupted run."""
    from ..dumps.wikidata import WikidataOptions, convert_wikidata

    check_format(format)
    options = WikidataOptions(
        languages=[argument_text(each) for each in languages or ["en"]],
        types=[argument_text(each) for each in types or ()],
        min_sitelinks=min_sitelinks,
        format=format,
        wikipedia=str(wikipedia or ""),
    )
    with count_dump(dump, "lines", quiet=quiet) as on_progress:
        manifest = convert_wikidata(
            dump,
            out,
            options,
            workers=workers,
            overwrite=overwrite,
            on_progress=on_progress,
        )
    print_manifest(dump, manifest, quiet=quiet)
