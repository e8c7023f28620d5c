"""`elq report`"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..corpora.nif import WIKIDATA
from ..errors import ElqError, Errors
from ._common import (
    BATCH_SIZE,
    MANY,
    EntityUriOption,
    FormatOption,
    GpuOption,
    QuietOption,
    echo_note,
    handle_errors,
    load_pipeline,
    note_unknown_entities,
    progress_bar,
    read_gold_docs,
    refuse_to_overwrite,
)

if TYPE_CHECKING:
    from spacy.training import Example

    from ..evaluation.report import ScoredSet

EXAMPLE = "Example: python -m spacy elq report training/model-best dev.jsonl report.html"
WIKIDATA_PAGE = "https://www.wikidata.org/wiki/{}"
# Lowest threshold of the curves, unless the pipeline's is lower.
FLOOR = -8.0


@handle_errors("The page was left as it was.")
def report_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    data: Annotated[Path, typer.Argument(help="Gold file in any format of `elq convert`")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="HTML file to write")],
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=MANY, help="Texts to show, 0 for all")
    ] = 200,
    kb_url: Annotated[
        str, typer.Option(help="Address of an entity; {} stands for its id")
    ] = WIKIDATA_PAGE,
    read_as: FormatOption = "",
    entity_uri: EntityUriOption = WIKIDATA,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Write one HTML page about a pipeline on a gold file: scores, curves over the threshold,
    kinds of errors, and the texts with predicted and gold links, to filter and search."""
    from spacy.training import Example

    from ..evaluation.evaluate import keep_countable, rank_gold, seen_ids
    from ..evaluation.report import render_report
    from ..evaluation.scorer import score_links
    from ..evaluation.threshold_curve import joint_score_decides, links_above
    from ..files import write_text
    from ..pipeline.lookup import find_elq

    refuse_to_overwrite(output, [data])
    _check_page(output)
    nlp = load_pipeline(pipeline, gpu_id)
    elq = find_elq(nlp)
    has_curves = elq is not None and joint_score_decides(elq)
    references = read_gold_docs(data, nlp, read_as, entity_uri)
    note_unknown_entities(elq, references, data.name, quiet=quiet)
    watch = progress_bar(data.name, quiet=quiet)
    with links_above(elq, FLOOR) if has_curves else nullcontext():
        docs = list(watch(nlp.pipe((r.text for r in references), batch_size=BATCH_SIZE)))
    keep_countable(docs, references)
    examples = [Example(doc, reference) for doc, reference in zip(docs, references, strict=True)]
    rank_gold(nlp, examples, watch)
    page = render_report(
        examples,
        heading=f"{pipeline} on {data.name}",
        scores=score_links(examples, seen_ids=seen_ids(nlp)),
        limit=limit,
        scored=_score_set(elq, examples) if has_curves else None,
        title_of=_titles(elq),
        spans_key=getattr(elq, "spans_key", "elq"),
        kb_url_template=kb_url,
    )
    write_text(output, page)
    echo_note(f"{output}: {min(len(examples), limit or len(examples))} texts", quiet=quiet)


def _check_page(path: Path) -> None:
    """Raise an ElqError if the file exists and is not a report, but a second gold file, say."""
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if not file.read(15).lower().startswith(b"<!doctype html"):
                raise ElqError(Errors.ELQ447.format(path=path))


def _score_set(elq: Any, examples: Sequence[Example]) -> ScoredSet:
    from ..evaluation.report import ScoredSet
    from ..evaluation.threshold_curve import read_scored_links
    from ..linking.calibration import Calibration

    return ScoredSet(
        [read_scored_links(each.predicted, each.reference, elq.spans_key) for each in examples],
        min(FLOOR, elq.threshold),
        elq.threshold,
        None if elq.calibration is None else Calibration.from_dict(elq.calibration),
    )


def _titles(elq: Any) -> Callable[[str], str]:
    """Entity id → its title in the linker's knowledge base, or the id itself."""
    kb = getattr(elq, "kb", None)

    def title(entity_id: str) -> str:
        entity = None if kb is None else kb.entity(entity_id)
        return entity_id if entity is None else entity.title

    return title
