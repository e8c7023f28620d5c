"""`elq evaluate`"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..corpora.convert import FORMATS
from ..corpora.nif import WIKIDATA
from ..errors import ElqError, Errors
from ._common import (
    BATCH_SIZE,
    MANY,
    EntityUriOption,
    FormatOption,
    GpuOption,
    MentionKindsOption,
    QuietOption,
    ThresholdOption,
    dataset_names,
    echo_note,
    handle_errors,
    is_same_file,
    load_pipeline,
    note_unknown_entities,
    override_settings,
    progress_bar,
    read_gold_docs,
    refuse_to_overwrite,
    require_elq,
)

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from ..evaluation.baseline import AliasDictionary
    from ..evaluation.evaluate import Result

EXAMPLE = "Example: python -m spacy elq evaluate training/model-best dev.jsonl --output scores.json"


@handle_errors("No scores were written; the links of finished sets are in --predictions.")
def evaluate_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    data: Annotated[list[Path], typer.Argument(help="Gold files in any format of `elq convert`")],
    read_as: FormatOption = "",
    entity_uri: EntityUriOption = WIKIDATA,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file for all scores")
    ] = None,
    threshold: ThresholdOption = None,
    mention_kinds: MentionKindsOption = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Entities JSONL: also measure an alias dictionary of them"),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Gold file in which the alias dictionary counts links")
    ] = None,
    min_link_probability: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Alias dictionary: skip names that are linked less often than this"
        ),
    ] = 0.0,
    part: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Also report the texts in FILE as a part"),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(
            "--beside",
            "--compare",
            help="Scores to print for comparison, set by set: an earlier --output, or figures of "
            'other systems, {"name": SYSTEM, "scores": {SET: F1}}',
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="Directory for the links, one file per set"),
    ] = None,
    write_as: Annotated[
        str,
        typer.Option(
            "--to", "-t", help=f"Format of --predictions: {', '.join(FORMATS)}; default: the first"
        ),
    ] = "",
    save: Annotated[
        bool, typer.Option("--save", help="Store the scores and a model card in the pipeline")
    ] = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", min=1, max=MANY, help="Texts per batch")
    ] = BATCH_SIZE,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Measure a pipeline's links on gold files: weak and strong precision, recall and F1, entity
    ranks, links per text; what benchmarks count; kinds of errors; texts and characters per
    second."""
    from ..corpora.convert import write_any
    from ..corpora.predictions import text_from_prediction
    from ..evaluation.evaluate import evaluate_set, mean_results
    from ..evaluation.model_card import store_scores
    from ..pipeline.lookup import find_elq
    from ._scores import format_all, of_set, read_scores, save_scores

    _check_pairs(
        ("--train", train is not None, "--baseline", baseline is not None),
        ("--min-link-probability", min_link_probability > 0, "--baseline", baseline is not None),
        ("--to", bool(write_as), "--predictions", predictions is not None),
    )
    if save:  # before the work
        _check_saves(Path(pipeline), {"--threshold": threshold, "--mention-kinds": mention_kinds})
    write_as = write_as or next(iter(FORMATS))
    others = [] if beside is None else read_scores(beside)
    names = dataset_names(data)
    if others and not any(of_set(others, name) for name in names):
        sets = ", ".join(dict.fromkeys(other.data for other in others))
        echo_note(f"{beside} has scores of other sets: {sets}", quiet=quiet)
    named = dict(_split_part(each) for each in part or ())
    inputs = [*data, *named.values(), *filter(None, (baseline, train))]
    if output is not None:
        refuse_to_overwrite(output, inputs)
    targets: list[Path] = []
    if predictions is not None:
        inputs += [] if beside is None else [beside]
        targets = _targets(predictions, names, write_as, inputs)
    nlp = load_pipeline(pipeline, gpu_id)
    if save or threshold is not None or mention_kinds is not None:
        elq = require_elq(nlp, pipeline)
        override_settings(elq, threshold=threshold, mention_kinds=mention_kinds)
    compared = _baseline(nlp, baseline, train, min_link_probability)
    texts = {name: frozenset(d.text for d in read_gold_docs(p, nlp)) for name, p in named.items()}
    results: list[Result] = []
    shown: list[Result] = []
    for i, (path, name) in enumerate(zip(data, names, strict=True)):
        references = read_gold_docs(path, nlp, read_as, entity_uri)
        note_unknown_entities(find_elq(nlp), references, name, quiet=quiet)
        linked = _Kept(progress_bar(name, quiet=quiet))
        of_this = evaluate_set(
            nlp,
            name,
            references,
            baseline=compared,
            parts=texts,
            batch_size=batch_size,
            watch=linked,
            watch_ranks=progress_bar(f"{name}, ranks of gold entities", quiet=quiet),
        )
        results += of_this
        shown += [*of_this, *(replace(other, data=name) for other in of_set(others, name))]
        if targets:
            rows = map(text_from_prediction, linked.docs, references)
            write_any(rows, targets[i], nlp, write_as, entity_uri=entity_uri)
    typer.echo(format_all([*shown, *mean_results(shown)]))
    echo_note(f"texts/s and chars/s: warm, batch size {batch_size}", quiet=quiet)
    if output is not None:
        settings = {
            "pipeline": pipeline,
            "batch_size": batch_size,
            "threshold": threshold,
            "mention_kinds": mention_kinds,
        }
        save_scores(output, results, mean_results(results), **settings)
        echo_note(f"All scores: {output}", quiet=quiet)
    if save:
        store_scores(nlp, Path(pipeline), results)
        echo_note(f"{pipeline}: scores and model card stored in meta.json", quiet=quiet)


def _check_saves(pipeline: Path, overridden: Mapping[str, object]) -> None:
    """Raise an ElqError if scores can't be stored, or would be of other settings."""
    from ..evaluation.model_card import meta_file

    meta_file(pipeline)
    for option, value in overridden.items():
        if value is not None:
            raise ElqError(Errors.ELQ468.format(option=option))


def _check_pairs(*pairs: tuple[str, bool, str, bool]) -> None:
    """Raise an ElqError for an option that needs another one, which is missing."""
    for option, given, other, other_given in pairs:
        if given and not other_given:
            raise ElqError(Errors.ELQ457.format(option=option, other=other))


def _split_part(part: str) -> tuple[str, Path]:
    name, equals, path = part.partition("=")
    if not (name and equals and path):
        raise ElqError(Errors.ELQ405.format(part=part))
    return name, Path(path)


def _targets(
    directory: Path, names: Sequence[str], write_as: str, inputs: Sequence[Path]
) -> list[Path]:
    """RETURNS (list[Path]): The file for the links of each set.
    RAISES (ElqError): If that would overwrite an input or another set's links."""
    from ..corpora.convert import suffix_of

    targets = [directory / f"{Path(name).stem}{suffix_of(write_as)}" for name in names]
    for i, target in enumerate(targets):
        if target in targets[:i]:
            raise ElqError(Errors.ELQ408.format(path=target, problem="two sets have its name"))
        if any(is_same_file(target, path) for path in inputs):
            raise ElqError(Errors.ELQ408.format(path=target, problem="it is an input"))
    return targets


def _baseline(
    nlp: Language, entities: Path | None, train: Path | None, min_link_probability: float
) -> AliasDictionary | None:
    if entities is None:
        return None
    from ..entities.reader import read_entities
    from ..evaluation.baseline import AliasDictionary

    return AliasDictionary(
        read_entities(entities),
        () if train is None else read_gold_docs(train, nlp),
        min_link_probability=min_link_probability,
    )


class _Kept:
    """Passes documents through and keeps them."""

    def __init__(self, watch: Callable[[Iterable[Doc]], Iterator[Doc]]) -> None:
        self.watch = watch
        self.docs: list[Doc] = []

    def __call__(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        for doc in self.watch(docs):
            self.docs.append(doc)
            yield doc
