"""`elq convert`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ElqError, Errors
from ._run import Quiet, guarded, note, progress

EXAMPLE = "Example: python -m spacy elq convert train.jsonl train.spacy"


@guarded("The output file was left as it was.")
def convert_command(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write")],
    read_as: Annotated[
        str, typer.Option("--from", "-f", help="Format of IN, if its name does not tell")
    ] = "",
    write_as: Annotated[
        str, typer.Option("--to", "-t", help="Format of OUT, if its name does not tell")
    ] = "",
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="Language whose tokenizer is used")
    ] = "en",
    entities: Annotated[
        Path | None,
        typer.Option(help="For the elq formats: ELQ's entity.jsonl, or the KB made of it"),
    ] = None,
    tokenizer: Annotated[
        str, typer.Option(help='For the elq formats: "minilm", a model directory or a hub id')
    ] = "minilm",
    quiet: Quiet = False,
) -> None:
    """Convert linked texts between file formats: spans-jsonl (.jsonl, .jsonl.gz), spacy (.spacy),
    elq (ELQ's tokenized/*.jsonl), elq-raw (its {"id", "text"} input) and elq-outs (its output)."""
    import spacy

    from ..corpora.convert import convert

    try:
        spacy.util.get_lang_class(lang)
    except ImportError:
        raise ElqError(Errors.ELQ404.format(lang=lang)) from None
    nlp = spacy.blank(lang)
    watch = progress(source.name, quiet=quiet)
    tally = convert(
        source,
        target,
        nlp,
        read_as=read_as,
        write_as=write_as,
        entities=entities,
        tokenizer=tokenizer,
        watch=watch,
    )
    note(f"{target}: {tally.texts} texts, {tally.spans - tally.blank} spans", quiet=quiet)
    if tally.misaligned:
        note(f"  spans widened to whole tokens: {tally.misaligned}", quiet=quiet)
    if tally.blank:
        note(f"  spans of white space only, left out: {tally.blank}", quiet=quiet)
    if tally.unlinked:
        note(f"  mentions without an entity, left out: {tally.unlinked}", quiet=quiet)
