"""`elq weights`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._run import Quiet, guarded, linker, load_pipeline, note

EXAMPLE = "Example: python -m spacy elq weights training/mine/model-best mine.safetensors"


@guarded()
def weights_command(
    pipeline: Annotated[str, typer.Argument(help="Trained pipeline: package or directory")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, *.safetensors")],
    rank: Annotated[
        int, typer.Option(min=1, help="Of the changes: higher is closer to them, and larger")
    ] = 64,
    quiet: Quiet = False,
) -> None:
    """Write what training changed of the encoder as a small file, for
    `[components.elq.model] pretrained`."""
    from ..pretrained import save_changes, untrained_encoder

    nlp = load_pipeline(pipeline)
    elq = linker(nlp, pipeline)
    source = nlp.get_pipe_config(elq.name)["model"]["encoder"].get("name")
    save_changes(elq.model, untrained_encoder(source), out, rank)
    note(f"{out}: {out.stat().st_size / 1e6:.1f} MB, changes to {source}", quiet=quiet)
