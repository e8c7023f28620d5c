"""`elq optimize`"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ElqError, Errors
from ._common import (
    QuietOption,
    echo_note,
    handle_errors,
    inference_settings,
    load_pipeline,
    require_elq,
)

if TYPE_CHECKING:
    from ..evaluation.compare_inference import Difference, Measured

EXAMPLE = (
    "Example: python -m spacy elq optimize training/model-best quick_linker -i questions.jsonl"
)
# Number of texts that are compared.
MAX_TEXTS = 500


@handle_errors()
def optimize_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Directory of the pipeline to make")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Texts to compare on: .jsonl(.gz), .txt, .csv or .tsv with a column text; "
            "default: descriptions of the knowledge base",
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help="onnx or torch")] = "onnx",
    precision: Annotated[str, typer.Option(help="int8, fp32, bf16 or auto")] = "int8",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Replace an existing pipeline")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Make a faster pipeline for the CPU: its encoders run in ONNX Runtime (extra "onnx"), in 8-bit
    integers, from graphs saved beside the weights. Prints what that gains, and what it changes, on
    some texts."""
    from ..evaluation.compare_inference import compare_inference
    from ..pipeline.directories import check_target, write_pipeline

    settings = inference_settings(backend, precision)  # before the work
    check_target(out, overwrite)
    nlp = load_pipeline(pipeline)
    elq = require_elq(nlp, pipeline)
    texts = _texts(elq, source)
    echo_note(f"{pipeline}: comparing on {len(texts)} texts", quiet=quiet)
    before, after, difference = compare_inference(nlp, elq, texts, settings)
    elq.entity_encoder.encode_texts(texts[:1])  # makes its graph
    write_pipeline(nlp, out)
    typer.echo(_table(before, after, f"{settings.backend} {settings.precision}"))
    typer.echo(_summary(before, after, difference))
    echo_note(f'{out}: spacy.load("{out}")', quiet=quiet)


def _texts(elq: Any, source: Path | None) -> list[str]:
    """RETURNS (list[str]): The first texts of a file, or descriptions of entities."""
    if source is None:
        found = [entity.description for entity in islice(elq.kb.view, MAX_TEXTS)]
    else:
        from ..corpora.input_texts import read_texts

        found = [row.text for row in islice(read_texts(source), MAX_TEXTS)]
    texts = [text for text in found if text.strip()]
    if not texts:
        raise ElqError(Errors.ELQ406.format(path=source or "the knowledge base"))
    return texts


def _table(before: Measured, after: Measured, name: str) -> str:
    from ._table import format_table

    columns = [
        ("torch fp32", before, 1.0, 1.0),
        (
            name,
            after,
            before.single_ms / after.single_ms,
            after.texts_per_second / before.texts_per_second,
        ),
    ]
    rows = [
        [
            way,
            f"{measured.single_ms:.1f}",
            f"{single:.2f}",
            f"{measured.texts_per_second:.0f}",
            f"{batch:.2f}",
            str(measured.n_links),
        ]
        for way, measured, single, batch in columns
    ]
    header = ["inference", "ms a text", "times", "texts/s in batches", "times", "links"]
    return format_table(header, rows, "lrrrrr")


def _summary(before: Measured, after: Measured, difference: Difference) -> str:
    return (
        f"\n{difference.same} links are the same, {before.n_links - difference.same} are lost, "
        f"{after.n_links - difference.same} are new. Scores of the same links differ by "
        f"{difference.score:.3f} on average, {difference.max_score:.3f} at most. Cosine between "
        f"wordpiece vectors: {difference.cosine:.4f} on average, {difference.min_cosine:.4f} at "
        "least."
    )
