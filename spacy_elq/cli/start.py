"""`elq start`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import (
    ColumnsOption,
    GpuOption,
    QuietOption,
    column_names,
    echo_note,
    handle_errors,
    use_gpu,
)

EXAMPLE = "Example: python -m spacy elq start my_linker --kb entities.jsonl"


@handle_errors(
    "All but the last seconds of embedding are kept beside OUT; run the same command again "
    "to resume."
)
def start_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory of the pipeline to make")],
    kb: Annotated[
        Path, typer.Option("--kb", help="File of entities, or a knowledge base directory")
    ],
    lang: Annotated[
        str, typer.Option("--lang", "-l", help="Language of the texts, for the tokenizer")
    ] = "en",
    from_: Annotated[str, typer.Option("--from", "-f", help="Format of the file of entities")] = "",
    columns: ColumnsOption = "",
    refer: Annotated[
        bool,
        typer.Option("--refer", help="Refer to the knowledge base directory instead of copying it"),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Replace an existing pipeline")
    ] = False,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Make a pipeline that links to your own entities, without training."""
    from ..pipeline.start import start

    use_gpu(gpu_id)
    manifest = start(
        kb,
        out,
        lang=lang,
        from_=from_,
        columns=column_names(columns),
        refer=refer,
        overwrite=overwrite,
        progress=not quiet,
    )
    echo_note(f'{out}: {manifest.entities} entities; spacy.load("{out}")', quiet=quiet)
