"""`elq import-checkpoint`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._common import MANY, QuietOption, echo_note, handle_errors

EXAMPLE = (
    "Example: python -m spacy elq import-checkpoint --weights elq_wiki_large.bin "
    "--params elq_large_params.txt --entities entity.jsonl --vectors all_entities_large.t7 "
    "elq_wiki"
)


@handle_errors("Converted parts are kept beside the output; run the same command again to resume.")
def import_checkpoint_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory of the pipeline to make")],
    weights: Annotated[Path, typer.Option("--weights", "-w", help="State dict, elq_*.bin")],
    params: Annotated[Path, typer.Option("--params", "-p", help="Settings, elq_*_params.txt")],
    entities: Annotated[Path, typer.Option("--entities", help="entity.jsonl, or id2title.json")],
    vectors: Annotated[
        Path | None,
        typer.Option("--vectors", "-v", help="Entity vectors, *.t7; default: embed the entities"),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="FAISS index of the vectors; default: exact search"),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="Directory or hub id of tokenizer and configuration; default: from the settings"
        ),
    ] = "",
    threshold: Annotated[
        float, typer.Option("--threshold", help="Joint log-score that a link must exceed")
    ] = -2.9,
    threshold_type: Annotated[
        str,
        typer.Option(help='"joint", "top_entity_by_mention" or "thresholded_entity_by_mention"'),
    ] = "joint",
    mention_threshold: Annotated[
        float, typer.Option(help="Mention score, for the types other than joint")
    ] = -0.6931,
    max_context_length: Annotated[
        int, typer.Option(min=0, max=MANY, help="Wordpieces of a text; default: from the settings")
    ] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Replace an existing pipeline")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Make a pipeline from a published ELQ checkpoint; it links exactly as the published code
    does. Resumes an interrupted import of the same files."""
    from ..interop.checkpoint import CheckpointFiles, LinkingOptions, import_checkpoint

    files = CheckpointFiles(weights, params, entities, vectors, index, encoder)
    options = LinkingOptions(threshold, threshold_type, mention_threshold, max_context_length)
    manifest = import_checkpoint(files, out, options, progress=not quiet, overwrite=overwrite)
    echo_note(f"{out}: {manifest.entities} entities, index {manifest.index}", quiet=quiet)
