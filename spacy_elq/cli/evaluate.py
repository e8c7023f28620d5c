"""`elq evaluate`"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..about import __version__
from ..errors import ElqError, Errors
from ._run import Gpu, Quiet, guarded, linker, load_pipeline, note, progress, set_names

if TYPE_CHECKING:
    from spacy.language import Language

    from ..baseline import AliasDictionary
    from ..evaluate import Result

EXAMPLE = "Example: python -m spacy elq evaluate training/model-best dev.jsonl --output scores.json"


@guarded()
def evaluate_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    data: Annotated[list[Path], typer.Argument(help="Gold files, spans JSONL or .spacy")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file for all scores")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Joint log-score that a link must exceed; default: the pipeline's"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Entities JSONL: measure an alias dictionary of them as well"),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Gold file whose links the alias dictionary counts")
    ] = None,
    min_link_probability: Annotated[
        float,
        typer.Option(help="Alias dictionary: skip names that are linked less often than this"),
    ] = 0.0,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Report the texts that FILE holds as a part too"),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, help="Texts a batch")
    ] = 64,
    gpu_id: Gpu = -1,
    quiet: Quiet = False,
) -> None:
    """Measure a pipeline's links on gold files: weak and strong precision, recall and F1, entity
    ranks, links a text, texts a second."""
    from ..evaluate import evaluate_set
    from ._table import table

    named = dict(_split_part(each) for each in part or ())
    nlp = load_pipeline(pipeline, gpu_id)
    if threshold is not None:
        linker(nlp, pipeline).threshold = threshold
    compared = _baseline(nlp, baseline, train, min_link_probability)
    texts = {name: frozenset(row.text for row in _rows(path, nlp)) for name, path in named.items()}
    results: list[Result] = []
    for path, name in zip(data, set_names(data), strict=True):
        results += evaluate_set(
            nlp,
            name,
            _references(path, nlp),
            baseline=compared,
            parts=texts,
            batch_size=batch_size,
            watch=progress(name, quiet=quiet),
        )
    typer.echo(table(results))
    note(f"texts/s: warm, batch size {batch_size}", quiet=quiet)
    if output is not None:
        _save(output, pipeline, results, batch_size, threshold)
        note(f"All scores: {output}", quiet=quiet)


def _split_part(part: str) -> tuple[str, Path]:
    name, equals, path = part.partition("=")
    if not (name and equals and path):
        raise ElqError(Errors.ELQ405.format(part=part))
    return name, Path(path)


def _rows(path: Path, nlp: Language) -> Any:
    from ..corpora.convert import read_any

    return read_any(path, nlp)


def _references(path: Path, nlp: Language) -> Sequence[Any]:
    from ..corpora.spans import docs_from_rows

    docs = list(docs_from_rows(nlp, _rows(path, nlp)))
    if not docs:
        raise ElqError(Errors.ELQ406.format(path=path))
    return docs


def _baseline(
    nlp: Language, entities: Path | None, train: Path | None, min_link_probability: float
) -> AliasDictionary | None:
    if entities is None:
        return None
    from ..baseline import AliasDictionary
    from ..corpora.entities import read_entities

    return AliasDictionary(
        read_entities(entities),
        () if train is None else _references(train, nlp),
        min_link_probability=min_link_probability,
    )


def _save(
    path: Path,
    pipeline: str,
    results: Sequence[Result],
    batch_size: int,
    threshold: float | None,
) -> None:
    from ..corpora.files import write_json

    write_json(
        path,
        {
            "pipeline": pipeline,
            "spacy_elq": __version__,
            "batch_size": batch_size,
            "threshold": threshold,
            "results": [asdict(result) for result in results],
        },
    )
