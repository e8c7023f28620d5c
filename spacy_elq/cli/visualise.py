"""`elq visualise`"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ElqError, Errors
from ._run import Gpu, Quiet, guarded, load_pipeline, note, progress

if TYPE_CHECKING:
    from spacy.language import Language

EXAMPLE = "Example: python -m spacy elq visualise training/model-best dev.jsonl errors.html"


@guarded("The page was left as it was.")
def visualise_command(
    pipeline: Annotated[str, typer.Argument(help="Pipeline package or directory")],
    data: Annotated[Path, typer.Argument(help="Gold file, spans JSONL or .spacy")],
    output: Annotated[Path, typer.Argument(metavar="OUT", help="HTML file to write")],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Texts to show, 0 for all")
    ] = 200,
    kb_url: Annotated[
        str, typer.Option(help="Address of an entity, {} is its id")
    ] = "https://www.wikidata.org/wiki/{}",
    gpu_id: Gpu = -1,
    quiet: Quiet = False,
) -> None:
    """Show a pipeline's links beside the gold ones as one HTML page, errors marked by kind."""
    from spacy.training import Example

    from ..corpora.convert import read_any
    from ..corpora.files import write_text
    from ..corpora.spans import docs_from_rows
    from ..evaluate import find_elq, rank_gold, seen_ids
    from ..scorer import score_links
    from ..visualise import render

    nlp = load_pipeline(pipeline, gpu_id)
    references = list(docs_from_rows(nlp, read_any(data, nlp)))
    if not references:
        raise ElqError(Errors.ELQ406.format(path=data))
    watch = progress(data.name, quiet=quiet)
    docs = watch(nlp.pipe(reference.text for reference in references))
    examples = [Example(doc, reference) for doc, reference in zip(docs, references, strict=True)]
    rank_gold(nlp, examples)
    shown = examples[: limit or None]
    page = render(
        shown,
        heading=f"{pipeline} on {data.name}",
        scores=score_links(examples, seen_ids=seen_ids(nlp)),
        total=len(examples),
        title_of=_titles(nlp),
        spans_key=getattr(find_elq(nlp), "spans_key", "elq"),
        kb_url_template=kb_url,
    )
    write_text(output, page)
    note(f"{output}: {len(shown)} texts", quiet=quiet)


def _titles(nlp: Language) -> Callable[[str], str]:
    """Entity id → its name in the pipeline's knowledge base, the id itself where there is none."""
    from ..evaluate import find_elq

    kb = getattr(find_elq(nlp), "kb", None)

    def title(entity_id: str) -> str:
        entity = None if kb is None else kb.entity(entity_id)
        return entity_id if entity is None else entity.title

    return title
