"""`elq weights`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import QuietOption, echo_note, handle_errors, load_pipeline, require_elq

EXAMPLE = "Example: python -m spacy elq weights mine.safetensors training/mine/model-best"


@handle_errors()
def weights_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="File to write, *.safetensors")],
    pipelines: Annotated[
        list[str],
        typer.Argument(help="Trained pipelines: packages or directories; several are averaged"),
    ],
    bits: Annotated[
        int,
        typer.Option(min=2, max=8, help="Bits per number: more bits are more precise, but larger"),
    ] = 5,
    quiet: QuietOption = False,
) -> None:
    """Write the changes that training made to the encoder as a small file, for
    `[components.elq.model] pretrained`."""
    from ..ml.pretrained import load_untrained_encoder, save_changes

    loaded = [load_pipeline(pipeline) for pipeline in pipelines]
    elqs = [require_elq(nlp, name) for nlp, name in zip(loaded, pipelines, strict=True)]
    components = loaded[0].config.interpolate()["components"]  # it may be a variable
    source = components[elqs[0].name]["model"]["encoder"].get("name")
    save_changes([elq.model for elq in elqs], load_untrained_encoder(source), out, bits)
    echo_note(f"{out}: {out.stat().st_size / 1e6:.1f} MB, changes to {source}", quiet=quiet)
