"""`elq start`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import GpuOption, QuietOption, echo_note, handle_errors, use_gpu

EXAMPLE = "Example: python -m spacy elq start my_linker --kb entities.jsonl"


@handle_errors(
    "What was embedded, but for the last seconds, is kept beside OUT; run the same command again "
    "to go on."
)
def start_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory of the pipeline to make")],
    kb: Annotated[
        Path, typer.Option("--kb", "-k", help="File of entities, or a knowledge base directory")
    ],
    lang: Annotated[str, typer.Option(help="Language of the texts, for the tokenizer")] = "en",
    from_: Annotated[str, typer.Option("--from", help="Format of the file of entities")] = "",
    refer: Annotated[
        bool, typer.Option("--refer", help="Leave the knowledge base directory where it is")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Replace a pipeline that is there")
    ] = False,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Make a pipeline that links to your own entities, with no training."""
    from ..pipeline.start import start

    use_gpu(gpu_id)
    manifest = start(
        kb, out, lang=lang, from_=from_, refer=refer, overwrite=overwrite, progress=not quiet
    )
    echo_note(f'{out}: {manifest.entities} entities; spacy.load("{out}")', quiet=quiet)
